"""The report stage: from a run folder to one page that opens from disk (`report.html`) and its figures (`report.json`).

`stage` leads; `sources` reads the run folder, `scores` asks the metrics, `pictures` and `curves` draw, `page` and `sections`
write the HTML around `template.html`, `style.css` and `script.js`. What is said of a model comes from `_stages.generation`.
"""
