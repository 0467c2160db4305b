"""The shared cases, and what is pure beside them."""

from __future__ import annotations

import json
import math
import tempfile
import unittest
from pathlib import Path

from outrigger_runtime import (
    FAIL_CLOSED_HOOKS,
    HOOK_NAMES,
    Backoff,
    KeyFileError,
    PlaceError,
    RuntimeOptions,
    away_verdict,
    backoff_ms,
    canonical_json,
    digest,
    match,
    runtime_dir,
    state_dir,
)
from outrigger_runtime.event_buffer import Buffered, EventBuffer
from outrigger_runtime.json_text import decode, encode, encode_optional
from outrigger_runtime.key import read_key

from .cases import cases, contributions


class Shared(unittest.TestCase):
    def test_hooks_match(self) -> None:
        file = cases("matching.json")
        hooks = contributions(file["hooks"]).hooks
        for case in file["cases"]:
            with self.subTest(**case):
                self.assertEqual(match(hooks, case["hook"], **case["subject"]) is not None, case["wanted"])

    def test_verdicts_while_the_supervisor_is_away(self) -> None:
        file = cases("away.json")
        for case in file["cases"]:
            with self.subTest(**case):
                heard = (
                    None
                    if case["contributions"] is None
                    else contributions(file["contributions"][case["contributions"]])
                )
                closed = frozenset(case.get("fail_closed_hooks", FAIL_CLOSED_HOOKS))
                verdict, reason = away_verdict(heard, closed, case["hook"], **case["subject"])
                self.assertEqual(verdict, case["verdict"])
                self.assertEqual(reason is not None, verdict == "stop")
                for part in case.get("reason_has", []):
                    self.assertIn(part, reason or "")

    def test_digests(self) -> None:
        file = cases("digests.json")
        for case in file["cases"]:
            with self.subTest(case["json"]):
                value = json.loads(case["json"])
                self.assertEqual(canonical_json(value), case["canonical"])
                self.assertEqual(digest(value).hex(), case["sha256"])
        cycle: list[object] = []
        cycle.append(cycle)
        refused = {"nan": math.nan, "infinity": [math.inf], "cycle": cycle}
        for name in file["refused"]:
            self.assertRaises(ValueError, digest, refused[name])
        self.assertRaises(TypeError, digest, {"f": object()})
        self.assertRaises(TypeError, digest, {1: 2})
        self.assertRaises(ValueError, digest, "\ud83d")

    def test_the_buffer_of_events(self) -> None:
        for script in cases("events.json")["scripts"]:
            buffer = EventBuffer(script["bounds"]["events"], script["bounds"]["bytes"])
            for index, step in enumerate(script["steps"], 1):
                with self.subTest(script["name"], step=index):
                    self.step(buffer, step)

    def step(self, buffer: EventBuffer, step: dict) -> None:
        if "want" in step:
            streams = frozenset([] if step["want"] == "all" else step["want"])
            buffer.want(streams, step["want"] == "all", step.get("starting", False))
        if "offer" in step:
            given: list[int] = []
            told = step["offer"]
            event = Buffered(
                None, told["run"], told["stream"], told.get("terminal", False), told.get("bytes", 10), told.get("seq")
            )
            self.assertEqual(buffer.offer(event, lambda: given.append(1)), step["becomes"])
            self.assertEqual(len(given), step.get("gives_up", 0))
        if "take" in step:
            taken = buffer.take(step["take"]["events"], step["take"]["bytes"])
            self.assertEqual([[event.run_id, event.seq, event.stream] for event in taken], step["gives"])
        for run in range(1, step.get("offer_runs", 0) + 1):
            buffer.offer(Buffered(None, f"run-{run}", "tool", False, 10))
        while "take_all" in step and buffer.waiting:
            buffer.take(1000, 1_000_000)
        if "confirm" in step:
            buffer.confirm(None if step["confirm"] is True else step["confirm"])
        if "restore" in step:
            buffer.restore()
        if "forget" in step:
            buffer.forget(step["forget"])
        if "holds" in step:
            self.assertEqual(buffer.holds(step["holds"]["run"]), step["holds"]["is"])
        for name, wanted in step.get("size", {}).items():
            self.assertEqual(getattr(buffer, name), wanted, name)

    def test_waits(self) -> None:
        for case in cases("backoff.json")["cases"]:
            backoff = Backoff(case["min_ms"], case["max_ms"])
            self.assertEqual(backoff_ms(backoff, case["failures"], 0), case["shortest"], case)
            self.assertEqual(backoff_ms(backoff, case["failures"], 1), case["longest"], case)

    def test_places(self) -> None:
        for case in cases("places.json")["cases"]:
            for look, wanted in ((runtime_dir, case["runtime_dir"]), (state_dir, case["state_dir"])):
                with self.subTest(**case):
                    if wanted is None:
                        self.assertRaises(PlaceError, look, case["env"], case["uid"])
                    else:
                        self.assertEqual(look(case["env"], case["uid"]), wanted)


class Own(unittest.TestCase):
    def test_the_catalogue_has_all_hooks(self) -> None:
        # That its numbers are right follows from where they are read.
        self.assertEqual(
            (len(HOOK_NAMES), HOOK_NAMES[0], HOOK_NAMES[-1]), (43, "before_model_resolve", "skill_changed")
        )

    def test_json_travels_as_it_is_and_absence_as_no_bytes(self) -> None:
        self.assertEqual((encode_optional(None), decode(b""), decode(encode(None))), (b"", None, None))
        self.assertEqual(encode({"a": 9007199254740993, "b": "ä"}), '{"a":9007199254740993,"b":"ä"}'.encode())
        self.assertRaises(ValueError, encode, math.nan)

    def test_a_key_file_that_others_can_read_or_that_holds_something_else_is_refused(self) -> None:
        secret = "0123456789abcdef" * 4
        with tempfile.TemporaryDirectory(prefix="ork-") as directory:
            path = Path(directory, "a.key")
            with self.assertRaisesRegex(KeyFileError, "no such file"):
                read_key(str(path))
            path.write_text(f"default:{secret}\n")
            path.chmod(0o600)
            self.assertEqual(read_key(str(path)), f"default:{secret}")
            path.chmod(0o644)
            with self.assertRaisesRegex(KeyFileError, "0644"):
                read_key(str(path))
            path.chmod(0o600)
            for bad in (
                "",
                "default",
                f"default:{secret}x",
                f"Default:{secret}",
                f"default:{secret}\nmore",
                "x" * 100_000,
            ):
                path.write_text(bad)
                with self.assertRaises(KeyFileError) as caught:
                    read_key(str(path))
                self.assertNotIn(secret, str(caught.exception))
            self.assertRaises(KeyFileError, read_key, directory)

    def test_options_out_of_their_range_are_refused_by_name(self) -> None:
        for name, value in (
            ("call_timeout_ms", 0),
            ("event_buffer_events", 0),
            ("incarnation", 0),
            ("backoff", Backoff(10, 5)),
            ("served_hooks", ["nothing"]),
        ):
            with self.assertRaisesRegex(ValueError, "nothing" if name == "served_hooks" else name):
                RuntimeOptions(**{name: value})
        self.assertNotEqual(RuntimeOptions().incarnation, RuntimeOptions().incarnation)


if __name__ == "__main__":
    unittest.main()
