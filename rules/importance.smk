"""Importance: how much each FFN neuron matters for each sample of a domain.

needs   <results>/corpora/{direction}/{domain}/train.jsonl, <results>/models/{model}/manifest.json
leaves  <results>/importance/{model}/{direction}/{domain}.npy         float16 (layers, samples, neurons)
        <results>/importance/{model}/{direction}/{domain}.json        how to read it: sample ids, losses, scale
        <results>/importance/{model}/{direction}/{domain}.stats.npz   mean |a|, mean |dL/da|, positive share
        <results>/importance/{model}/{direction}/samples.json         only with `samples: auto`: the number, and why
For attention heads, if a variant selects them, the same files are in <results>/importance-heads/. With
`draws: per_seed`, the dumps of seed n are in <results>/importance-seed{n}/ and <results>/importance-heads-seed{n}/.
A dump depends on its own domain only: adding a domain never touches it. A killed dump resumes from
`.{domain}.partial`, beside it.
"""


include: "functions/importance.smk"


rule decide_samples:
    input:
        script=here("workflow/scripts/decide_samples.py"),
        manifest="<results>/models/{model}/manifest.json",
        corpora=deciding_corpora,
    output:
        samples="<results>/importance/{model}/{direction}/samples.json",
        cost="<results>/importance/{model}/{direction}/samples.cost.json",
    log:
        "<logs>/decide_samples/{model}/{direction}.log",
    benchmark:
        "<benchmarks>/decide_samples/{model}/{direction}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        **over_nodes(lambda wildcards: CONFIG.models[wildcards.model].resources),
        mem_mb=memory_of("importance", "model"),
        runtime=resource_of("runtime"),
        device_map=lambda wildcards: device_map(CONFIG.models[wildcards.model].resources),
    params:
        module=module_of_script,
        settings=of(parts.pilot, "model", "direction"),
        domains=deciding_domains,
        stage_version=2,
    message:
        "how many samples importance needs ({wildcards.model}, {wildcards.direction}; progress: tail -f {log})"
    shell:
        "python -m caneft.runtime.lease --gpus {resources.gpu} --"
        " python -m {params.module} --settings {params.settings:q} --model {wildcards.model} --domains {params.domains}"
        " --corpora {input.corpora:q} --manifest {input.manifest:q} --threads {threads}"
        " --gpus {resources.gpu} --nodes {resources.nodes} --device-map {resources.device_map}"
        " --samples {output.samples:q} > {log:q} 2>&1"


rule dump_importance:
    input:
        script=here("workflow/scripts/dump_importance.py"),
        manifest="<results>/models/{model}/manifest.json",
        corpus="<results>/corpora/{direction}/{domain}/train.jsonl",
        decided=decided_samples,
    output:
        scores="<results>/{dumps}/{model}/{direction}/{domain}.npy",
        sidecar="<results>/{dumps}/{model}/{direction}/{domain}.json",
        stats="<results>/{dumps}/{model}/{direction}/{domain}.stats.npz",
        cost="<results>/{dumps}/{model}/{direction}/{domain}.cost.json",
    log:
        "<logs>/dump_importance/{dumps}/{model}/{direction}/{domain}.log",
    benchmark:
        "<benchmarks>/dump_importance/{dumps}/{model}/{direction}/{domain}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        **over_nodes(lambda wildcards: CONFIG.models[wildcards.model].resources),
        mem_mb=memory_of("importance", "model"),
        runtime=resource_of("runtime"),
        device_map=lambda wildcards: device_map(CONFIG.models[wildcards.model].resources),
    params:
        module=module_of_script,
        settings=dump_settings,
        decided=optional("--decided", "decided"),
        stage_version=2,
    message:
        "{wildcards.dumps} of {wildcards.model} for {wildcards.domain} ({wildcards.direction})"
    shell:
        "python -m caneft.runtime.lease --gpus {resources.gpu} --"
        " python -m {params.module} --settings {params.settings:q} --model {wildcards.model} --domain {wildcards.domain}"
        " --manifest {input.manifest:q} --corpus {input.corpus:q} {params.decided} --threads {threads}"
        " --gpus {resources.gpu} --nodes {resources.nodes} --device-map {resources.device_map}"
        " --scores {output.scores:q} > {log:q} 2>&1"


rule importance:
    """Target: every importance dump."""
    input:
        every_dump(),
