"""Environments of their own: what rules ask of those whose packages fit into no other."""

VENVS = os.environ.get("CANEFT_VENVS", ".venvs")
WITH_CONDA = DeploymentMethod.CONDA in getattr(workflow.deployment_settings, "deployment_method", ())


def own_environment(name, module, package, wanted):
    """Python of the environment envs/{name}.yaml, and what says that it is there, if a job does.

    It is conda's, or one that the user names, or that of a virtual environment which rule build_environment builds.
    module, package: what such a Python can import, and where it is from; wanted: whether any job will.
    """
    variable = f"CANEFT_{name.upper()}_PYTHON"
    named = os.environ.get(variable)
    if WITH_CONDA:
        return "python", []
    if not named:
        return f"{VENVS}/{name}/bin/python", f"{VENVS}/{name}/ready.json"
    has = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    if wanted and subprocess.run([shutil.which(named) or "false", "-c", has]).returncode != 0:
        raise WorkflowError(
            f"{variable} is {named}, which is no Python that has {package}. Name that of an environment with"
            f" the packages of envs/{name}.txt, or unset it: the workflow then builds that environment."
        )
    return named, []


COMET_PYTHON, COMET_ENVIRONMENT = own_environment("comet", "comet", "unbabel-comet", CONFIG.scoring.neural)
VLLM_PYTHON, VLLM_ENVIRONMENT = own_environment("vllm", "vllm", "vllm", CONFIG.decoding.engine == "vllm")
