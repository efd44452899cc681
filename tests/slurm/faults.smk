"""Jobs that fail like jobs on clusters, with resources as in the workflow's own rules (`growing`)."""


configfile: "longer.yaml"


include: "rules/common.smk"
include: "rules/handlers.smk"


onstart:
    check_cluster()


localrules:
    all,


GPUS = range(3)


rule all:
    default_target: True
    input:
        expand("faults/{name}", name=["fails_once", "remembers_too_much", "takes_too_long", "outlives_an_outage"]),
        expand("faults/gpu{number}", number=GPUS),


rule fails_once:
    output:
        "faults/fails_once",
    resources:
        mem_mb=growing(400),
        runtime=growing(5),
    shell:
        "echo again >> fails_once.tries; [ $(wc -l < fails_once.tries) -gt 1 ] && touch {output}"


rule remembers_too_much:
    """Needs half a gigabyte in addition to the two Snakemakes of a job."""
    output:
        "faults/remembers_too_much",
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    shell:
        "python -c 'import time; much = bytes(1) * 500_000_000; time.sleep(8)' && touch {output}"


rule takes_too_long:
    """Takes two minutes the first time; later tries do not repeat that part."""
    output:
        "faults/takes_too_long",
    resources:
        mem_mb=growing(400),
        runtime=growing(1),
    shell:
        "[ -e takes_too_long.begun ] || {{ touch takes_too_long.begun; sleep 120; }}; touch {output}"


rule outlives_an_outage:
    """Until it is told that the outage is over."""
    output:
        "faults/outlives_an_outage",
    resources:
        mem_mb=growing(400),
        runtime=growing(60),
    shell:
        "until [ -e outage.over ]; do sleep 0.2; done; touch {output}"


rule on_a_gpu:
    output:
        "faults/gpu{number}",
    resources:
        mem_mb=growing(400),
        runtime=growing(5),
        gpu=1,
    shell:
        "python -c 'import os, time; began = time.time(); time.sleep(6);"
        ' print(os.environ["CUDA_VISIBLE_DEVICES"], began, time.time())\' > {output}'
