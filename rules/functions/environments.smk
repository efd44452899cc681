"""Functions for rules whose packages need a separate environment."""

VENVS = os.environ.get("CANEFT_VENVS", ".venvs")
WITH_CONDA = DeploymentMethod.CONDA in getattr(workflow.deployment_settings, "deployment_method", ())


def own_environment(name, module, package, wanted):
    """The Python of environment envs/{name}.yaml, and the file that marks it as built, if a job builds it.

    It is conda's, or one that the user names, or the one in the virtual environment from build_environment. module: what
    such a Python can import. package: where the module is from. wanted: whether any job needs it.
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
            f"{variable} is {named}, which is not a Python that has {package}. Name that of an environment with"
            f" the packages of envs/{name}.txt, or unset it: the workflow then builds that environment."
        )
    return named, []


COMET_PYTHON, COMET_ENVIRONMENT = own_environment("comet", "comet", "unbabel-comet", CONFIG.scoring.neural)
VLLM_PYTHON, VLLM_ENVIRONMENT = own_environment("vllm", "vllm", "vllm", CONFIG.decoding.engine == "vllm")
