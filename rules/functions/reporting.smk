"""Functions that the rules of reporting call."""

# The report sorts categories by name, and the entries of each by label.
SHOWN = ("overview", "tables", "figures", "examples")
CATEGORIES = {name: f"{place}. {name.capitalize()}" for place, name in enumerate(SHOWN, start=1)}


def labelled(listed, kind, name):
    """Labels of a table or figure: its number in its list, by which the report sorts, and its name."""
    return {"#": f"{list(listed).index(name) + 1:02}", kind: listed[name]}


def table(name):
    """Output files of a table; its HTML goes into the report if the table has rows."""
    caption, labels = f"../workflow/report/{name}.rst", labelled(listing.TABLES, "table", name)
    page = f"<results>/tables/{name}.html"
    if name in listing.tables(PLAN):
        page = report(page, caption=caption, category=CATEGORIES["tables"], labels=labels)
    return [page, *(f"<results>/tables/{name}{suffix}" for suffix in (".csv", ".md", ".tex"))]


def lost_results():
    """Small files that are missing from results that exist; targets wait for them.

    Snakemake does not notice that a file is missing if only finished jobs read it. So when a job fails under new
    settings, which removes its results, the tables made from them would still count as up to date.
    """
    if workflow.exec_mode != workflow.exec_mode.DEFAULT or not root("config.yaml").exists():
        return []
    return under_results(path for path in held.small(PLAN) if not root(path).exists())


def captions():
    """Files with the captions and the opening of the report."""
    return sorted(here(str(path.relative_to(HOME))) for path in HOME.glob("workflow/report/*.*"))


def figure(name):
    """Output files of a figure; its PNG goes into the report."""
    caption, labels = f"../workflow/report/{name}.rst", labelled(listing.FIGURES, "figure", name)
    shown = report(f"<results>/figures/{name}.png", caption=caption, category=CATEGORIES["figures"], labels=labels)
    return [shown, f"<results>/figures/{name}.svg", f"<results>/figures/{name}.pdf"]
