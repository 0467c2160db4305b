"""The guard of stock_gate.py with a named fault: `--fault NAME [--when starting|idle|hook|draining]`.

Names, phases and exit statuses are those of the `misbehave` binary. A process that has struck lives 20 s at most.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time

from outrigger.plugin.v1 import plugin_pb2 as p
from outrigger.types.v1 import hook_pb2 as h
from stock_gate import Gate

LIFE_SECS = 20
FLOOD_BYTES = 64 << 20
NEVER_GIVEN = 1 << 40
# They need an invocation, so they cannot strike before one is there.
ANSWERS = ("never-answer", "answer-late", "answer-twice", "answer-wrong-type")
FAULTS = ANSWERS + ("answer-wrong-id", "exit", "exit-zero", "final-exit", "hang", "ignore-sigterm", "flood-stdout",
                    "burn-cpu", "stop-self", "close-socket")
# Ends a stopped parent when its time is over, and itself with the parent.
GUARD = """
import os, signal, sys, time
parent = int(sys.argv[1])
for _ in range(int(sys.argv[2]) * 20):
    time.sleep(0.05)
    if os.getppid() != parent: sys.exit()
os.kill(parent, signal.SIGKILL)
"""


def report(text):
    print("misbehave:", text, file=sys.stderr, flush=True)


class Misbehave(Gate):
    serial = False  # pings come while it does not answer

    def __init__(self, fault, when):
        super().__init__()
        self.fault, self.when = fault, when
        self.held = {}
        self.stubborn = self.struck = False

    def run(self):
        try:
            super().run()
        except Exception as error:
            if not self.stubborn:
                raise
            report(f"the session ended and is ignored: {error}")
        while self.stubborn:
            time.sleep(1)

    def welcome(self, welcome):
        self.strike("starting")
        if not self.stubborn:
            super().welcome(welcome)

    def registered(self, _):
        self.strike("idle")

    def invoked(self, invocation):
        if self.when == "draining" and self.fault in ANSWERS:
            report(f"holds invocation {invocation.invocation_id}")
            self.held[invocation.invocation_id] = invocation
        elif self.strike("hook", invocation):
            super().invoked(invocation)

    def cancelled(self, invocation_id):
        if self.held.pop(invocation_id, None):
            self.finish(invocation_id)

    def drain(self, _):
        held, self.held = self.held, {}
        for invocation in held.values():
            if self.strike("draining", invocation):
                super().invoked(invocation)
        if not held:
            self.strike("draining")

    def shutdown(self, shutdown):
        for invocation_id in self.held:
            self.finish(invocation_id)
        if not self.stubborn:
            super().shutdown(shutdown)

    def finish(self, invocation_id):
        if self.fault == "answer-late":
            report(f"answers invocation {invocation_id} late")
            self.answer(invocation_id, declined=p.Declined())

    def strike(self, phase, invocation=None):
        """True: go on as if nothing had been. Faults of an answer strike each time, others once."""
        if self.when != phase or (self.struck and self.fault not in ANSWERS):
            return True
        self.struck = True
        signal.alarm(LIFE_SECS)
        report(f"{self.fault} strikes ({phase})")
        if self.fault in ANSWERS:
            if invocation:
                self.misanswer(invocation)
            return False
        getattr(self, "do_" + self.fault.replace("-", "_"))()
        return True

    def misanswer(self, invocation):
        number = invocation.invocation_id
        if self.fault == "answer-late":
            self.held[number] = invocation
        elif self.fault == "answer-twice":
            self.answer(number, declined=p.Declined())
            self.answer(number, declined=p.Declined())
        elif self.fault == "answer-wrong-type":
            self.answer(number, hook=h.HookResult(prompt=h.PromptContribution(prepend_context="misbehave")))

    def do_answer_wrong_id(self):
        self.answer(NEVER_GIVEN, declined=p.Declined())

    def do_exit(self):
        os._exit(3)

    def do_exit_zero(self):
        os._exit(0)

    def do_final_exit(self):
        os._exit(78)

    def do_hang(self):
        while True:
            time.sleep(1)

    def do_ignore_sigterm(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.stubborn = True

    def do_flood_stdout(self):
        def flood():
            block = b"misbehave floods its output\n" * 4096
            for _ in range(FLOOD_BYTES // len(block)):
                os.write(1, block)
            report("wrote to standard output")
        threading.Thread(target=flood, daemon=True).start()

    def do_burn_cpu(self):
        def spin():
            while True:
                pass
        for _ in range(2):
            threading.Thread(target=spin, daemon=True).start()
        spin()

    def do_stop_self(self):
        os.kill(os.getpid(), signal.SIGSTOP)

    def do_close_socket(self):
        self.channel.close()
        self.do_hang()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", choices=FAULTS, required=True)
    parser.add_argument("--when", choices=("starting", "idle", "hook", "draining"), default="hook")
    arguments = parser.parse_args()
    if arguments.fault in ANSWERS and arguments.when in ("starting", "idle"):
        report(f"{arguments.fault} does not apply when {arguments.when}: no invocation is there to answer")
        sys.exit(64)
    if arguments.fault == "stop-self":
        # Before gRPC has threads.
        subprocess.Popen([sys.executable, "-c", GUARD, str(os.getpid()), str(LIFE_SECS * 2)],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    Misbehave(arguments.fault, arguments.when).run()


if __name__ == "__main__":
    main()
