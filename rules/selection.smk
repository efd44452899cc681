"""Selection: what each neuron's importance tells about the domain, and which neurons every method tunes.

needs   the importance dumps of a mixture's domains
leaves  <results>/neurons/{model}/{direction}/{mixture}/information.parquet      one row per neuron: MI, null, means
        <results>/neurons/{model}/{direction}/{mixture}/information.json         null quantile; what length and loss tell
        <results>/neurons/{model}/{direction}/{mixture}/{variant}/draw{n}.npz    the neuron set of a variant
        <results>/neurons/{model}/{direction}/{mixture}/stability.json           whether disjoint halves select the same
For attention heads, the first three are in <results>/heads/. If seed n has its own importance samples, there are also
both folders with the ending -seed{n}.
"""


include: "functions/selection.smk"


rule measure_information:
    input:
        script=here("workflow/scripts/measure_information.py"),
        manifest="<results>/models/{model}/manifest.json",
        dumps=mixture_dumps(".npy"),
        sidecars=mixture_dumps(".json"),
        stats=mixture_dumps(".stats.npz"),
    output:
        table="<results>/{units}/{model}/{direction}/{mixture}/information.parquet",
        about="<results>/{units}/{model}/{direction}/{mixture}/information.json",
        cost="<results>/{units}/{model}/{direction}/{mixture}/information.cost.json",
    log:
        "<logs>/measure_information/{units}/{model}/{direction}/{mixture}.log",
    benchmark:
        "<benchmarks>/measure_information/{units}/{model}/{direction}/{mixture}.tsv"
    group:
        grouped("selection")
    conda:
        "../envs/train.yaml"
    threads: 2
    resources:
        turn=1,
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        module=module_of_script,
        settings=lambda wildcards: parts.information(CONFIG).model_dump_json(),
        stage_version=2,
    message:
        "information of {wildcards.model}'s {wildcards.units} about the domains of {wildcards.mixture} ({wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q} --dumps {input.dumps:q}"
        " --manifest {input.manifest:q} --threads {threads} --table {output.table:q} > {log:q} 2>&1"


rule select_neurons:
    input:
        script=here("workflow/scripts/select_neurons.py"),
        table="<results>/{units}/{model}/{direction}/{mixture}/information.parquet",
        about="<results>/{units}/{model}/{direction}/{mixture}/information.json",
        like=like,
    output:
        neurons="<results>/{units}/{model}/{direction}/{mixture}/{variant}/draw{draw}.npz",
    log:
        "<logs>/select_neurons/{units}/{model}/{direction}/{mixture}/{variant}/draw{draw}.log",
    benchmark:
        "<benchmarks>/select_neurons/{units}/{model}/{direction}/{mixture}/{variant}/draw{draw}.tsv"
    wildcard_constraints:
        variant=one_of(PLAN.variants(Neurons)),
    group:
        grouped("selection")
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        turn=1,
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        settings=of(parts.selection, "variant"),
        like=optional("--like", "like"),
        stage_version=1,
    message:
        "{wildcards.units} of {wildcards.variant} on {wildcards.mixture} ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q} --table {input.table:q} --draw {wildcards.draw}"
        " {params.like}"
        " --neurons {output.neurons:q} > {log:q} 2>&1"


rule measure_stability:
    input:
        script=here("workflow/scripts/measure_stability.py"),
        dumps=mixture_dumps(".npy"),
        sidecars=mixture_dumps(".json"),
        stats=mixture_dumps(".stats.npz"),
        table="<results>/neurons/{model}/{direction}/{mixture}/information.parquet",
        about="<results>/neurons/{model}/{direction}/{mixture}/information.json",
    output:
        stability="<results>/neurons/{model}/{direction}/{mixture}/stability.json",
        cost="<results>/neurons/{model}/{direction}/{mixture}/stability.cost.json",
    log:
        "<logs>/measure_stability/{model}/{direction}/{mixture}.log",
    benchmark:
        "<benchmarks>/measure_stability/{model}/{direction}/{mixture}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        module=module_of_script,
        settings=lambda wildcards: parts.stability(CONFIG).model_dump_json(),
        stage_version=2,
    message:
        "stability of {wildcards.model}'s neurons selected on {wildcards.mixture} ({wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q} --dumps {input.dumps:q} --table {input.table:q}"
        " --threads {threads} --stability {output.stability:q} > {log:q} 2>&1"


rule selection:
    """Target: every information table, neuron set and stability curve."""
    input:
        every_selection(),
