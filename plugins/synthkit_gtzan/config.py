"""Settings of the data set."""

from __future__ import annotations

from typing import Literal

from synthkit.config import Config, UserPath

SplitName = Literal["fault-filtered", "stratified", "artist-fold-1", "artist-fold-2", "artist-fold-3"]


class GTZANConfig(Config):
    """The GTZAN genre collection."""

    root: UserPath
    """Where it is, or where `data fetch` unpacks it: the folder with the genre folders, with flat files, or with one of the
    usual folders around them (docs/gtzan.md lists them)."""
    split: SplitName = "fault-filtered"
    """`fault-filtered` (Kereliuk et al. 2015: 443, 197 and 290 clips, hardly an artist on two sides), `stratified` (500, 250
    and 250 drawn by synthkit, artists on all sides) or one of three artist-disjoint folds, `artist-fold-1` to `-3` (Foleiss 2020)."""
    labels: Literal["genres", "none"] = "genres"
    """`genres`: a clip's genre is its label."""
    skip_known_faults: bool = True
    """Leave out byte-identical copies of other clips, the two worst distortions, and jazz.00054.wav, which does not decode."""
    partial: bool = False
    """The set is meant to be incomplete, as gtzan_mini is: clips that are not there are no loss."""
