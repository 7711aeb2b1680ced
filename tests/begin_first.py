"""In which order the files of tests begin when several run side by side, each of them in one process.

A file that takes a minute and is begun last makes the whole run a minute longer. `LONGEST` is by measure (the sum of
`--durations` over a file); who makes a file longer than half a minute adds it, and no other file has to be here.
"""

from __future__ import annotations

import pytest

LONGEST = (
    # what works the processor stands beside what waits
    "tests/contracts/test_container_engine.py",
    "tests/test_install.py",
    "tests/api/test_api_processes.py",
    "tests/test_one_file.py",
    "tests/pages/test_pages_in_browser.py",
    "tests/test_packaging.py",
    "tests/api/test_api_webhooks.py",
    "tests/plugins/test_origins.py",
    "tests/chaos/test_chaos.py",
    "tests/fleet/test_dashboard.py",
    "tests/contracts/test_task_store.py",
    "tests/docs/test_openapi_fuzzed.py",
    "tests/plugins/test_authoring.py",
    "tests/stores/test_redis_trouble.py",
    "tests/api/test_api_crash.py",
    "tests/engines/test_docker_images.py",
    "tests/api/test_api_systemd.py",
    "tests/fleet/test_real_lives.py",
    "tests/engines/test_swarm.py",
    "tests/cli/test_readme_commands.py",
    "tests/api/test_api_large.py",
    "tests/test_commands.py",
    "tests/api/test_api_reload.py",
    "tests/fleet/test_real_commands.py",
    "tests/fleet/test_real_deploying.py",
    "tests/raw/test_raw_queue.py",
    "tests/cli/test_cli_reload.py",
    "tests/fleet/test_real_trouble.py",
    "tests/fleet/test_real_rollout.py",
    "tests/api/test_api_redis.py",
    "tests/settings/test_fuzz.py",
    "tests/stores/test_same_answers.py",
    "tests/workers/test_restart.py",
    "tests/workers/test_talking.py",
    "tests/docs/test_tutorial.py",
    "tests/fleet/test_real_swarm.py",
    "tests/engines/test_swarm_services.py",
    "tests/engines/test_docker_containers.py",
)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """The same tests, those of `LONGEST` first; within a file they stay as they are."""
    place = {file: number for number, file in enumerate(LONGEST)}
    return sorted(items, key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))
