"""Runs side by side: `gather` reads them, `tables` says how they differ, `text` prints it, `page` makes a page of it. No torch."""
