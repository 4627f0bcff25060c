from pipeline.comparison.settings import differing_in, flatten, labels


def setting(head="linear", seed=0, alpha=1.0, temperature=2.0):
    return {"head": head, "seed": seed, "distill": {"alpha": alpha, "temperature": temperature}}


def test_a_label_is_the_head_and_what_differs_but_the_seed():
    settings = [setting(), setting(seed=1, alpha=0.5), setting("cnn3")]
    assert labels(settings) == ["linear alpha=1.0", "linear alpha=0.5", "cnn3 alpha=1.0"]
    assert labels([setting(), setting("cnn3", seed=2)]) == ["linear", "cnn3"]


def test_a_label_names_the_section_where_two_sections_have_the_key():
    settings = [{**setting(), "train": {"epochs": n}, "teacher": {"train": {"epochs": n}}} for n in (1, 2)]
    assert labels(settings)[0] == "linear teacher.train.epochs=1 train.epochs=1"
    assert labels([{**setting(), "dataset": {"seed": n}} for n in (1, 2)])[1] == "linear dataset.seed=2"


def test_a_key_that_is_null_is_not_one_that_is_absent():
    assert labels([setting(), setting() | {"clip": None}]) == ["linear clip=absent", "linear clip=null"]


def test_values_are_written_as_in_params_yaml():
    values = {"a": True, "b": [0, 2], "c": "adamw", "d": 1.0}
    assert labels([setting() | values, setting() | dict.fromkeys(values)]) == [
        "linear a=true b=[0, 2] c=adamw d=1.0",
        "linear a=null b=null c=null d=null",
    ]


def test_groups_differ_in_one_parameter_and_are_ordered_by_its_value():
    settings = [setting(alpha=1.0), setting("cnn3", alpha=1.0), setting(alpha=0.0, seed=3), setting(alpha=0.5)]
    assert differing_in("distill.alpha", settings) == [[2, 3, 0]]
    assert differing_in("distill.temperature", settings) == []


def test_every_group_is_found_and_a_second_difference_separates():
    settings = [
        setting(alpha=alpha, head=head, temperature=temperature)
        for head, temperature in (("linear", 1.0), ("cnn3", 1.0), ("cnn3", 4.0))
        for alpha in (0.5, 1.0)
    ]
    assert differing_in("distill.alpha", settings) == [[0, 1], [2, 3], [4, 5]]
    assert differing_in("distill.temperature", settings) == [[2, 4], [3, 5]]


def test_a_setting_without_the_parameter_is_in_no_group():
    assert differing_in("prune.amount", [setting(), {**setting(), "prune": {"amount": 0.3}}]) == []


def test_flatten_joins_keys_with_dots():
    assert flatten({"a": {"b": {"c": 1}}, "d": None}) == {"a.b.c": 1, "d": None}
