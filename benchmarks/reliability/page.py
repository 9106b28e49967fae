"""The server's part of `benchmarks/reliability.md`: between two marks, made from the results."""

from pathlib import Path
from typing import Any

from tastemaker.steps import write_atomically

BEGIN, END = "<!-- server: made by make bench-reliability -->", "<!-- server: end -->"


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    over, swaps, hang = results["overload"], results["swaps"], results["hang"]
    ratio = over["admitted_p99_ms"] / over["rest_p99_ms"]
    swap_ratio = swaps["swapping_p99_ms"] / swaps["rest_p99_ms"]
    rows = [
        (
            "ten times the load",
            f"{over['load_per_second']:.0f} requests/s, 10 × {over['rest_per_second']:.0f}; capacity "
            f"{over['capacity_per_second']:.0f}",
            f"{over['admitted']} answered, {over['refused']} `RESOURCE_EXHAUSTED` (p99 {over['refused_p99_ms']} ms), "
            f"{over['other']} otherwise, {over['wrong']} wrong",
        ),
        (
            "… p99 of those admitted",
            f"at rest {over['rest_p99_ms']} ms",
            f"{over['admitted_p99_ms']} ms, {ratio:.2f} × rest (with the first second's burst "
            f"{over['admitted_p99_ms_with_burst']} ms)",
        ),
        (
            f"{swaps['swaps']} swaps under load",
            f"{swaps['requests']} requests, {swaps['seconds_a_swap']} s a swap",
            f"{swaps['failed']} failed, {swaps['wrong']} mixed, {swaps['versions_that_answered']} versions answered",
        ),
        (
            "… p99 while swapping",
            f"at rest {swaps['rest_p99_ms']} ms",
            f"{swaps['swapping_p99_ms']} ms, {swap_ratio:.2f} × rest; of the first request to each version "
            f"{swaps['first_calls_p99_ms']} ms",
        ),
        (
            "server hangs (SIGSTOP)",
            f"{hang['clients']} clients, deadline {hang['deadline_seconds']} s, {hang['asked']} asked",
            f"{hang['degraded']} flagged popular items, {hang['raised']} errors; slowest "
            f"{hang['slowest_answer_seconds']} s, half within {hang['median_answer_ms_with_open_circuit']} ms; "
            f"{hang['sent_to_server']} calls sent; well {hang['seconds_until_well_again']} s after it went on",
        ),
    ]
    if "release_swaps" in results:
        real = results["release_swaps"]
        rows.append(
            (
                f"{real['swaps']} swaps of a real release of {real['megabytes']:.0f} MB",
                f"{real['per_second']:.0f} requests/s, {real['requests']} while swapping; p99 at rest "
                f"{real['rest_p99_ms']} ms",
                f"{real['failed']} failed; p99 {real['swapping_p99_ms']} ms, "
                f"{real['swapping_p99_ms'] / real['rest_p99_ms']:.2f} × rest, max {real['swapping_max_ms']} ms",
            )
        )
    lines = ["| fault | circumstances | found |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    machine = (
        f"{results['date']}, commit {results['commit']}, {results['cpus']} CPUs ({results['machine']['processor']})"
    )
    shared = "Under ten times the load server and callers have half of the CPUs each; in the others they share them."
    lines += ["", f"{machine}, load average before {results['machine']['load_before']}. {shared}"]
    return "\n".join(lines)


def write_table(page: Path, results: dict[str, Any]) -> None:
    """Puts the table between the page's two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_atomically(page, f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}")
