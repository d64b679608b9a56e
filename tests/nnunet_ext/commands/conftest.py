import numpy as np
import pytest

from nnunet_ext.commands import evaluate, generate_labels, recover_instances, simulate_fractures


@pytest.fixture
def call(capfd):
    """Run a command in this process; return its exit status, stdout and stderr."""
    commands = {"generate": generate_labels.main, "recover": recover_instances.main, "evaluate": evaluate.main}
    commands["simulate"] = simulate_fractures.main

    def run(name, *arguments):
        try:
            status = commands[name]([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        assert "Traceback" not in err or "--verbose" in arguments
        return status, out, err

    return run


@pytest.fixture
def classes(labels):
    """ABBC classes of `labels`."""
    from label_gen import generate_abbc
    from nnunet_ext.schemes import load_scheme

    return generate_abbc(labels, (1.5, 0.8, 0.9), scheme=load_scheme("pengwin2024")).abbc


@pytest.fixture
def one_hot(classes):
    """Probabilities (class, z, y, x) of certain classes."""
    return np.stack([classes == number for number in range(4)]).astype(np.float32)


@pytest.fixture
def study_processes(monkeypatch):
    """Give one thread to what a study runs, and end the process that runs it after the test."""
    from nnunet_ext.studies import launching

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    launching._end_server()
