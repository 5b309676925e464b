"""FMA, the Free Music Archive data set (Defferrard et al. 2017), for synthkit."""
