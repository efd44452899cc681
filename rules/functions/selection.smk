"""Functions that the rules of the selection call."""


def mixture_dumps(suffix):
    """Input function: importance dumps (or the files beside them) of a mixture's domains."""

    def paths(wildcards):
        dumps = importance_folder(*FOLDERS["units"][wildcards.get("units", "neurons")])
        folder = f"<results>/{dumps}/{wildcards.model}/{wildcards.direction}"
        return [f"{folder}/{domain}{suffix}" for domain in PLAN.seen(wildcards.direction, wildcards.mixture)]

    return paths


def like(wildcards):
    """Input function of a selection: the neuron set whose number per layer it copies."""
    other = CONFIG.methods[wildcards.variant].layers_of
    if other is None:
        return []
    draw = wildcards.draw if CONFIG.methods[other].method == "random" else 0
    folder = f"<results>/{wildcards.units}/{wildcards.model}/{wildcards.direction}/{wildcards.mixture}"
    return f"{folder}/{other}/draw{draw}.npz"


def every_selection():
    """Information tables, neuron sets and stability curves of all runs."""
    kinds = (inputs.information_files, inputs.neuron_files, inputs.stability_files)
    return under_results(file.path for files in kinds for file in files(PLAN))
