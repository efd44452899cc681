"""What the rules of reporting ask the plan."""

# The report sorts categories by their names, and what is in them by their labels.
SHOWN = ("overview", "tables", "figures", "examples")
CATEGORIES = {name: f"{place}. {name.capitalize()}" for place, name in enumerate(SHOWN, start=1)}


def labelled(listed, kind, name):
    """Labels of a table or figure: its place in its list, by which the report sorts, and its name."""
    return {"#": f"{list(listed).index(name) + 1:02}", kind: listed[name]}


def table(name):
    """Output files of a table; the HTML goes into the report if there is something for it."""
    caption, labels = f"../workflow/report/{name}.rst", labelled(listing.TABLES, "table", name)
    page = f"<results>/tables/{name}.html"
    if name in listing.tables(PLAN):
        page = report(page, caption=caption, category=CATEGORIES["tables"], labels=labels)
    return [page, *(f"<results>/tables/{name}{suffix}" for suffix in (".csv", ".md", ".tex"))]


def lost_results():
    """Small files that a run which has begun lacks, for targets to wait for.

    Snakemake does not miss a file that only finished jobs have read. So when a job fails under new settings, its results
    are gone, and yet the tables that were made from them would count as up to date.
    """
    if workflow.exec_mode != workflow.exec_mode.DEFAULT or not root("config.yaml").exists():
        return []
    return under_results(path for path in held.small(PLAN) if not root(path).exists())


def captions():
    """Texts of the report, and how it opens."""
    return sorted(here(str(path.relative_to(HOME))) for path in HOME.glob("workflow/report/*.*"))


def figure(name):
    """Output files of a figure; the PNG goes into the report."""
    caption, labels = f"../workflow/report/{name}.rst", labelled(listing.FIGURES, "figure", name)
    shown = report(f"<results>/figures/{name}.png", caption=caption, category=CATEGORIES["figures"], labels=labels)
    return [shown, f"<results>/figures/{name}.svg", f"<results>/figures/{name}.pdf"]
