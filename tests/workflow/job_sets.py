"""Sets of jobs of the mini workflow, as `rule wildcard/wildcard/...`, and the edits of mini.yaml that they follow."""

M = "mini-llama/de-en"
TRAINED = ("full", "lora", "adapters", "random", "caneft", "attention")
NEURONS = ("random", "caneft")
SELECTED = (*NEURONS, "attention")
DRAWS = {"random": 1, "caneft": 0, "attention": 0}
RATES = ("0.005", "0.01")  # for lora
AGGREGATES = {"tabulate", "plot", "show_examples", "overview", "all"}


def apart(mixture="all"):
    """Jobs on all translations of a block: scores on domains outside its mixture, without what is in the training data,
    and tests of significance."""
    return {f"score_without_overlap {M}/{mixture}", f"test_significance {M}/{mixture}"}


def flagged(domain="koran", mixture="all"):
    return {f"flag_overlap de-en/{mixture}/{domain}", *apart(mixture)}


def tuned(*variants, mixture="all", seed=1):
    rules = {"full": "tune_full", "lora": "tune_lora", "adapters": "tune_adapters"}
    return {f"{rules.get(variant, 'tune_neurons')} {M}/{mixture}/{variant}/seed{seed}" for variant in variants}


def tried(*rates, mixture="all", variant="lora"):
    """Trials of a variant of lora, and the choice between them."""
    runs = {f"tune_lora {M}/{mixture}/{variant}/lr{rate}-seed0" for rate in rates}
    return {*runs, *tried_again(*rates, mixture=mixture, variant=variant), f"choose_rate {M}/{mixture}/{variant}"}


def tried_again(*rates, mixture="all", variant="lora"):
    """Translations of these trials, and the scores of all trials of the variant."""
    runs = [f"{mixture}/{variant}/lr{rate}-seed0" for rate in rates]
    translated = {f"translate {M}/{run}/{split}" for run in runs for split in ("dev", "test")}
    return {*translated, f"score_trials {M}/{mixture}/{variant}"}


def selected(*variants, mixture="all", draw=None, own=""):
    """Selections of these variants. own: end of the folder's name, if a seed has its own draw of importance samples."""
    draws = DRAWS if draw is None else dict.fromkeys(variants, draw)
    units = {"attention": "heads"}
    return {f"select_neurons {units.get(v, 'neurons')}{own}/{M}/{mixture}/{v}/{draws[v]}" for v in variants}


def measured(mixture="all", own=""):
    return {f"measure_information {units}{own}/{M}/{mixture}" for units in ("neurons", "heads")}


def dumped(domain, own=""):
    return {f"dump_importance {dumps}{own}/{M}/{domain}" for dumps in ("importance", "importance-heads")}


def drawn(seed):
    """All selections on a seed's own importance samples, from the dumps on."""
    own = f"-seed{seed}"
    dumps = set().union(*(dumped(domain, own) for domain in ("it", "law", "medical")))
    random = selected("random", draw=seed, own=own)
    return {*dumps, *measured(own=own), *random, *selected("caneft", "attention", own=own)}


def evaluated(run):
    """Translation and score of a run on its test sets."""
    return {f"translate {M}/{run}/test", f"score {M}/{run}"}


def all_evaluated(variants, mixture="all", seed=1):
    return set().union(*(evaluated(f"{mixture}/{variant}/seed{seed}") for variant in variants))


def demo(domain, pairs=20):
    return {"format": "demo", "domain": domain, "pairs": pairs}


def add_trainable(config, domain):
    domains = config["directions"]["de-en"]["domains"]
    domains[domain] = {"train": demo(domain, 80), "dev": demo(domain), "test": demo(domain)}


def add_mixture(config):
    add_trainable(config, "subtitles")
    config["mixtures"]["more"] = {"de-en": ["it", "law", "medical", "subtitles"]}


NEW_MIXTURE = {
    "prepare_corpus de-en/subtitles",
    *dumped("subtitles"),
    "draw_mixture de-en/more",
    *measured("more"),
    f"measure_stability {M}/more",
    *selected(*SELECTED, mixture="more"),
    *tried(*RATES, mixture="more"),
    *tuned(*TRAINED, mixture="more"),
    *all_evaluated(TRAINED, mixture="more"),
    *evaluated("more/icl"),
    *flagged(mixture="more"),
    *evaluated("base"),
    *apart(),  # the base has one file of translations, which the blocks of both mixtures read
    "score_copy de-en",
    *AGGREGATES,
}


ALL_RUNS = {
    *selected(*SELECTED),
    *tried(*RATES),
    *tuned(*TRAINED),
    *all_evaluated(TRAINED),
    *evaluated("all/icl"),
}


def grow_mixture(config):
    add_trainable(config, "subtitles")
    config["mixtures"]["all"]["de-en"].append("subtitles")


GROWN_MIXTURE = {
    "prepare_corpus de-en/subtitles",
    *dumped("subtitles"),
    "draw_mixture de-en/all",
    *measured(),
    f"measure_stability {M}/all",
    *flagged(),
    *ALL_RUNS,
    *evaluated("base"),
    "score_copy de-en",
    *AGGREGATES,
}


def add_unused(config):
    add_trainable(config, "subtitles")


def add_unseen(config):
    config["directions"]["de-en"]["domains"]["garden"] = {"test": demo("garden")}


ALL_TESTED = {
    *evaluated("base"),
    *all_evaluated(TRAINED),
    *evaluated("all/icl"),
    *(tried_again(*RATES) - {f"translate {M}/all/lora/lr{rate}-seed0/dev" for rate in RATES}),
    "score_copy de-en",
}
UNSEEN = {"prepare_test_corpus de-en/garden", *flagged("garden"), *ALL_TESTED, *AGGREGATES}


def remove_unseen(config):
    del config["directions"]["de-en"]["domains"]["koran"]


REMOVED = {*ALL_TESTED, f"test_significance {M}/all", *AGGREGATES}


def change_rate(config):
    config["methods"]["caneft"]["learning_rate"] = 5e-3


def add_rate(config):
    config["methods"]["lora"]["learning_rate"].append(2e-2)


def leave_trials_untested(config):
    config["trials"]["test_sets"] = False


def fix_rate(config):
    config["methods"]["lora"]["learning_rate"] = 5e-3


LORA = {*tuned("lora"), *all_evaluated(["lora"]), *apart(), *AGGREGATES}


def add_seed(config):
    config["seeds"] = [1, 2]


SECOND_SEED = {
    *selected("random", draw=2),
    *tuned(*TRAINED, seed=2),
    *all_evaluated(TRAINED, seed=2),
    *apart(),
    *AGGREGATES,
}


def add_method(config):
    config["methods"]["joint"] = {"method": "joint", "learning_rate": 1e-2}


NEW_METHOD = {
    f"select_neurons neurons/{M}/all/joint/0",
    *tuned("joint"),
    *all_evaluated(["joint"]),
    *apart(),
    *AGGREGATES,
}


def change_fraction(config):
    config["selection"]["fraction"] = 0.2


def change_scope(config):
    config["selection"]["task_relevant_scope"] = "layer"


# lora copies caneft's number of parameters, so its rates are tried again; the heads have their own budget
NEW_NEURONS = {
    *selected(*NEURONS),
    *tried(*RATES),
    *tuned(*NEURONS, "lora"),
    *all_evaluated((*NEURONS, "lora")),
    *apart(),
    *AGGREGATES,
}
NEW_HEADS = {*selected("attention"), *tuned("attention"), *all_evaluated(["attention"])}


def change_bins(config):
    config["selection"]["bins"] = 8


def change_splits(config):
    config["selection"]["stability_splits"] = 2


def change_decoding(config):
    config["decoding"]["length_offset"] = 9


DECODED = {
    *evaluated("base"),
    *all_evaluated(TRAINED),
    *evaluated("all/icl"),
    *tried_again(*RATES),
    f"choose_rate {M}/all/lora",
    *tuned("lora"),
    *apart(),
    *AGGREGATES,
}


def merge_lora(config):
    config["methods"]["lora"]["merged"] = True


MERGED = {
    *tried_again(*RATES),
    f"choose_rate {M}/all/lora",
    *LORA,
}


def route_adapters(config):
    config["methods"]["adapters"]["route"] = "source_loss"


ROUTED = {*all_evaluated(["adapters"]), *apart(), *AGGREGATES}


def change_label(config):
    config["report"]["labels"] = {"caneft": "CANEFT"}


def change_alpha(config):
    config["significance"] = {"alpha": 0.01}


def change_baseline(config):
    config["significance"] = {"baseline": "lora"}


def change_resources(config):
    config["models"]["mini-llama"]["resources"] = {"mem_mb": 9000, "runtime": 600}


def change_order(config):
    config["mixtures"]["all"]["de-en"].reverse()


FINAL_RUNS = ("base", "all/icl", *(f"all/{variant}/seed1" for variant in TRAINED))


def scored():
    """Scores of all final runs."""
    return {f"score {M}/{run}" for run in FINAL_RUNS}


def add_model(config):
    config["models"]["other"] = config["models"]["mini-llama"] | {"dtype": "float32"}


OF_A_MODEL = {
    *dumped("it"),
    *dumped("law"),
    *dumped("medical"),
    *measured(),
    f"measure_stability {M}/all",
    *ALL_RUNS,
    *evaluated("base"),
    *apart(),
}
NEW_MODEL = {
    "prepare_pretraining other",
    "pretrain_model other",
    *(job.replace("mini-llama", "other") for job in OF_A_MODEL),
    *AGGREGATES,
}


def add_grid(config):
    config["methods"]["wide"] = {"method": "lora", "rank": 2, "learning_rate": [5e-3, 1e-2]}


NEW_GRID = {
    *tried(*RATES, variant="wide"),
    f"tune_lora {M}/all/wide/seed1",
    *all_evaluated(["wide"]),
    *apart(),
    *AGGREGATES,
}


def add_metric(config):
    config["scoring"] = {"metrics": ["bleu", "chrf", "exact"]}


NEW_SCORES = {
    *scored(),
    f"score_trials {M}/all/lora",
    "score_copy de-en",
    *apart(),
    *AGGREGATES,
}


def change_judge(config):
    config["scoring"] = {"metrics": ["exact", "bleu", "chrf"]}


NEW_JUDGE = {
    *NEW_SCORES,
    f"choose_rate {M}/all/lora",
    *LORA,
}


def add_comet(config):
    config["scoring"] = {"comet": {"hub": "owner/comet"}}


NEURAL = {
    "resolve_metric comet",
    *(f"score_neural {M}/{run}/comet" for run in FINAL_RUNS),
    "score_neural_copy de-en/comet",
    f"test_significance {M}/all",
    *AGGREGATES,
}


def change_gamma(config):
    config["selection"] = {"gamma": 0.01}


def change_criterion(config):
    config["methods"]["caneft"]["method"] = "joint"


def change_epochs(config):
    config["tuning"]["epochs"] = 2


TUNED_AGAIN = {
    *tried(*RATES),
    *tuned(*TRAINED),
    *all_evaluated(TRAINED),
    *apart(),
    *AGGREGATES,
}


def change_prompt(config):
    config["prompt"]["instruction"] = "{source_language} to {target_language}:"


def change_completion(config):
    config["prompt"]["completion"] = "{source_language} = {source}\n{target_language} ="


PROMPTED = {"pretrain_model mini-llama", *OF_A_MODEL, *AGGREGATES}


def change_samples(config):
    config["importance"]["samples"] = 50


DUMPED_AGAIN = {
    *dumped("it"),
    *dumped("law"),
    *dumped("medical"),
    *measured(),
    f"measure_stability {M}/all",
    *NEW_NEURONS,
    *NEW_HEADS,
}


def draw_per_seed(config):
    config["importance"]["draws"] = "per_seed"


def draw_for_two_seeds(config):
    draw_per_seed(config)
    add_seed(config)


# trials and the neurons that they tune use the shared draw, so all rates stay
DRAWN_PER_SEED = {
    *drawn(1),
    *tuned(*SELECTED, "lora"),
    *all_evaluated((*SELECTED, "lora")),
    *apart(),
    *AGGREGATES,
}
SECOND_DRAW = {*SECOND_SEED, *drawn(2)} - selected("random", draw=2)


def change_title(config):
    config["report"]["title"] = "Another title"


def change_gpu(config):
    config["models"]["mini-llama"]["resources"] = {"gpu": 1}


def change_threads(config):
    config["methods"]["full"]["resources"] = {"threads": 2}


CHANGED_LAW = {
    "prepare_corpus de-en/law",
    "draw_mixture de-en/all",
    *flagged("koran"),
    *dumped("law"),
    *measured(),
    f"measure_stability {M}/all",
    *ALL_RUNS,
    *evaluated("base"),
    "score_copy de-en",
    *AGGREGATES,
}
