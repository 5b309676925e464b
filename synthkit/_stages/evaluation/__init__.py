"""Vocoders side by side: `contenders` loads them, `making` makes the sounds, `measuring` measures them, `page` shows them.

`statistics` has the intervals, `text` the tables of the terminal; `synthkit._stages.evaluate` leads.
"""
