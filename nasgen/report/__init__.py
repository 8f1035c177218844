"""One self-contained HTML page of a run: `nasgen.report.page.render(view)`."""
