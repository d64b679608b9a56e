"""Run the cases of a batch on the machines of a Dask cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext._worker import Outcome, run_case

__all__ = ["run_on_dask"]

TIMEOUT_S = 5.0
"""How long to wait for the scheduler, then for its first worker. Source: chosen here; both answer in milliseconds."""


def run_on_dask(address: str) -> Callable[..., Iterator[tuple[str, Outcome]]]:
    """Connect to a cluster and return what runs cases on it, for `nnunet_ext.batch.run_batch`.

    The machines need this package in the same version, and the folders of the cases under the same paths.

    Args:
        address: Of the scheduler, `tcp://HOST:8786` or `HOST:8786`.

    Returns:
        A function that takes a function and the keyword arguments of each case, and yields the outcomes as they come.

    Raises:
        UsageError: Dask is not installed, nobody answers at the address, or the cluster has no workers.
    """
    try:
        from distributed import Client, as_completed
    except ModuleNotFoundError as error:
        raise UsageError(
            "Dask is not installed, which --dask needs; install the extra: pip install 'nnunet-abbc[dask]'"
        ) from error
    try:
        with ThreadPoolExecutor(1) as pool:  # a thread of its own, as a notebook has a loop running
            pool.submit(asyncio.run, _knock(address)).result()
        client = Client(address, timeout=TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"no Dask scheduler answers at '{address}' ({text}); start one (dask scheduler), start workers (dask "
            "worker ADDRESS), and give its address (--dask tcp://HOST:8786)"
        ) from error
    try:
        client.wait_for_workers(1, timeout=TIMEOUT_S)
    except OSError as error:
        client.close()
        raise UsageError(
            f"the Dask scheduler at '{address}' has no workers; start some: dask worker {address}"
        ) from error

    def run(
        function: Callable[..., Mapping[str, Any]], cases: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, Outcome]]:
        with client:
            futures = {client.submit(run_case, function, cases[name], pure=False): name for name in cases}
            try:
                for future in as_completed(futures, loop=client.loop):
                    yield futures[future], _outcome(future)
                    future.release()
            finally:
                client.cancel([future for future in futures if not future.done()])

    return run


async def _knock(address: str) -> None:
    """Connect to a scheduler and hang up; a `Client` that finds nobody leaves a mess behind."""
    from distributed.comm.core import connect
    from distributed.security import Security

    comm = await connect(address, timeout=TIMEOUT_S, **Security().get_connection_args("client"))
    await comm.close()


def _outcome(future: Any) -> Outcome:
    """Return what came of a case; a worker that was lost, or cannot run it at all, is a failure of the case."""
    try:
        outcome: Outcome = future.result()
    except Exception as error:  # whatever the worker raised comes here, of any class
        return Outcome(
            f"the Dask worker could not run it ({type(error).__name__}: {error}); look at its log, and see that it has "
            "this package in the same version, enough memory, and the folders under the same paths",
            0.0,
        )
    return outcome
