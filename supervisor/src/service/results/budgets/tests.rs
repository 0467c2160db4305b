use proptest::prelude::*;

use super::*;

fn turn(run_id: &str, attempt: u32) -> Turn<'_> {
    Turn { runtime_id: "r", run_id, attempt, side_effects_committed: false }
}

fn retry(instruction: &str, key: &str, max_attempts: u32) -> RetryCandidate {
    RetryCandidate { instruction: instruction.to_owned(), idempotency_key: key.to_owned(), max_attempts }
}

fn revise(reason: &str, retries: &[RetryCandidate]) -> Option<Proposal> {
    let retries = retries.iter().cloned().enumerate().collect();
    Some(Proposal { action: FinalizeAction::Revise, reason: reason.to_owned(), retries, finalised_by: None })
}

fn plugin(position: usize) -> String {
    format!("p{position}")
}

/// What was taken: action, instruction, plugin, attempts used, withheld.
fn taken(settled: &Settled) -> (FinalizeAction, Option<&str>, &str, u32, bool) {
    let action = FinalizeAction::try_from(settled.decision.action).expect("an action");
    assert!(settled.decision.retries.len() <= 1);
    let instruction = settled.decision.retries.first().map(|retry| retry.instruction.as_str());
    (action, instruction, &settled.plugin_id, settled.budget_used, settled.retry_withheld)
}

#[test]
fn the_first_retry_within_its_budget_is_taken() {
    let mut budgets = RetryBudgets::default();
    let both = || revise("why", &[retry("a", "", 1), retry("b", "", 2)]);
    let mut attempt = 0;
    let mut next = |budgets: &mut RetryBudgets| {
        attempt += 1;
        budgets.settle(&turn("x", attempt), both(), plugin)
    };
    let first = next(&mut budgets);
    assert_eq!(taken(&first), (FinalizeAction::Revise, Some("a"), "p0", 1, false));
    assert_eq!(first.decision.reason, "why\n\na");
    assert_eq!(taken(&next(&mut budgets)), (FinalizeAction::Revise, Some("b"), "p1", 1, false));
    assert_eq!(taken(&next(&mut budgets)), (FinalizeAction::Revise, Some("b"), "p1", 2, false));
    let spent = next(&mut budgets);
    assert_eq!(taken(&spent), (FinalizeAction::Continue, None, "", 0, true));
    assert_eq!(spent.decision.reason, "");
}

#[test]
fn a_budget_is_that_of_its_key_or_of_the_whole_instruction() {
    let mut budgets = RetryBudgets::default();
    let mut ask = |attempt, run: &str, retry: RetryCandidate| {
        budgets.settle(&turn(run, attempt), revise("", &[retry]), plugin).budget_used
    };
    assert_eq!(ask(1, "x", retry("a", "k", 9)), 1);
    assert_eq!(ask(2, "x", retry("b", "k", 9)), 2);
    assert_eq!(ask(3, "x", retry("k", "", 9)), 1, "an instruction is no key");
    assert_eq!(ask(4, "x", retry("a", "j", 9)), 1);
    assert_eq!(ask(1, "y", retry("a", "k", 9)), 1, "another run");
    let long = "a".repeat(10_000);
    assert_eq!(ask(5, "x", retry(&long, "", 9)), 1);
    assert_eq!(ask(6, "x", retry(&format!("{long}b"), "", 9)), 1, "the whole instruction counts");
    assert_eq!(ask(7, "x", retry(&long, "", 9)), 2);
}

/// Every retry that is looked at is charged, also over its budget; those after the one that is taken are not.
#[test]
fn what_is_looked_at_is_charged() {
    let mut budgets = RetryBudgets::default();
    let two = revise("", &[retry("a", "", 1), retry("b", "", 1)]);
    budgets.settle(&turn("x", 1), two, plugin);
    assert_eq!(budgets.settle(&turn("x", 2), revise("", &[retry("b", "", 1)]), plugin).budget_used, 1);
    for attempt in 3..6 {
        assert!(budgets.settle(&turn("x", attempt), revise("", &[retry("a", "", 1)]), plugin).retry_withheld);
    }
    assert_eq!(budgets.settle(&turn("x", 6), revise("", &[retry("a", "", 5)]), plugin).budget_used, 5);
}

#[test]
fn the_same_attempt_gets_the_earlier_answer_and_is_charged_once() {
    let mut budgets = RetryBudgets::default();
    assert_eq!(budgets.earlier(&turn("x", 1)), None);
    let first = budgets.settle(&turn("x", 1), revise("", &[retry("a", "", 3)]), plugin);
    assert_eq!(budgets.earlier(&turn("x", 1)), Some(first.clone()));
    let again = budgets.settle(&turn("x", 1), revise("other", &[retry("a", "", 3)]), |_| "q".to_owned());
    assert_eq!(again, first);
    let committed = Turn { side_effects_committed: true, ..turn("x", 1) };
    assert_eq!(budgets.settle(&committed, None, plugin), first);
    assert_eq!(budgets.settle(&turn("x", 2), revise("", &[retry("a", "", 3)]), plugin).budget_used, 2);
    assert_eq!(budgets.earlier(&Turn { runtime_id: "s", ..turn("x", 1) }), None, "another runtime");
}

#[test]
fn effects_that_are_out_forbid_another_pass_and_charge_nothing() {
    let mut budgets = RetryBudgets::default();
    let committed = |attempt| Turn { side_effects_committed: true, ..turn("x", attempt) };
    let withheld = budgets.settle(&committed(1), revise("why", &[retry("a", "", 1)]), plugin);
    assert_eq!(taken(&withheld), (FinalizeAction::Continue, None, "", 0, true));
    assert!(budgets.settle(&committed(2), revise("why", &[]), plugin).retry_withheld);
    assert!(!budgets.settle(&committed(3), None, plugin).retry_withheld);
    assert_eq!(budgets.settle(&turn("x", 4), revise("", &[retry("a", "", 1)]), plugin).budget_used, 1);
}

#[test]
fn other_proposals_need_no_budget() {
    let mut budgets = RetryBudgets::default();
    let nothing = budgets.settle(&turn("x", 1), None, plugin);
    assert_eq!(taken(&nothing), (FinalizeAction::Continue, None, "", 0, false));
    let finalize = Proposal {
        action: FinalizeAction::Finalize,
        reason: "enough".to_owned(),
        retries: Vec::new(),
        finalised_by: Some(4),
    };
    let finalised = budgets.settle(&turn("x", 2), Some(finalize), plugin);
    assert_eq!(taken(&finalised), (FinalizeAction::Finalize, None, "p4", 0, false));
    assert_eq!(finalised.decision.reason, "enough");
    let reason = budgets.settle(&turn("x", 3), revise("why", &[]), plugin);
    assert_eq!(taken(&reason), (FinalizeAction::Revise, None, "", 0, false));
    assert_eq!(reason.decision.reason, "why");
    // An instruction that the reasons hold already is not said twice.
    let said = budgets.settle(&turn("x", 4), revise("please do a", &[retry("do a", "", 1)]), plugin);
    assert_eq!(said.decision.reason, "please do a");
}

#[test]
fn the_end_of_a_run_frees_what_is_its_own() {
    let mut budgets = RetryBudgets::default();
    for run in ["run", "run1", "ru"] {
        budgets.settle(&turn(run, 1), revise("why", &[retry("a", "", 1)]), plugin);
    }
    let elsewhere = Turn { runtime_id: "s", ..turn("run", 1) };
    budgets.settle(&elsewhere, revise("why", &[retry("a", "", 1)]), plugin);
    budgets.end_run("r", "run");
    budgets.end_run("r", "nobody");
    assert_eq!((budgets.used.len(), budgets.answers.len()), (3, 3));
    assert_eq!(budgets.earlier(&turn("run", 1)), None);
    for (run, left) in [("run", false), ("run1", true), ("ru", true)] {
        let again = budgets.settle(&turn(run, 2), revise("why", &[retry("a", "", 1)]), plugin);
        assert_eq!(again.retry_withheld, left, "{run}");
    }
    for run in ["run", "run1", "ru"] {
        budgets.end_run("r", run);
    }
    budgets.end_run("s", "run");
    assert_eq!((budgets.used.len(), budgets.answers.len(), budgets.bytes), (0, 0, 0));
}

#[test]
fn the_tables_are_bounded_and_forget_the_oldest() {
    let mut budgets = RetryBudgets::default();
    for index in 0..2_048 {
        let asked = revise("", &[retry(&index.to_string(), "", 1)]);
        budgets.settle(&turn("x", index), asked, plugin);
    }
    assert_eq!((budgets.used.len(), budgets.answers.len()), (2_048, 2_048));
    // Used just now, so it stays; the second is the oldest.
    assert!(budgets.settle(&turn("x", 5_000), revise("", &[retry("0", "", 1)]), plugin).retry_withheld);
    assert!(!budgets.settle(&turn("x", 5_001), revise("", &[retry("new", "", 1)]), plugin).retry_withheld);
    assert_eq!((budgets.used.len(), budgets.answers.len()), (2_048, 2_048));
    assert!(budgets.settle(&turn("x", 5_002), revise("", &[retry("0", "", 1)]), plugin).retry_withheld);
    assert!(!budgets.settle(&turn("x", 5_003), revise("", &[retry("1", "", 1)]), plugin).retry_withheld);
    assert_eq!(budgets.earlier(&turn("x", 0)), None);
    assert!(budgets.earlier(&turn("x", 5_001)).is_some());
}

#[test]
fn decisions_that_are_kept_have_a_bound_in_bytes() {
    let mut budgets = RetryBudgets::default();
    let long = "€".repeat(32_768);
    for index in 0..100 {
        let asked = revise(&long, &[retry(&format!("{index}{long}"), "", 1)]);
        budgets.settle(&turn("x", index), asked, plugin);
        assert!(budgets.bytes <= MAX_ANSWER_BYTES);
    }
    assert!(budgets.earlier(&turn("x", 99)).is_some() && budgets.earlier(&turn("x", 0)).is_none());
    assert_eq!(budgets.used.len(), 100);
}

proptest! {
    /// Whatever is asked in whatever order: no budget gives more than its attempts, and the bytes add up.
    #[test]
    fn no_budget_is_overdrawn(
        steps in prop::collection::vec((0..3u32, 0..3u32, prop::collection::vec((0..3u32, 1..4u32), 0..3), any::<bool>()), 0..60),
    ) {
        let mut budgets = RetryBudgets::default();
        let mut granted = std::collections::BTreeMap::new();
        for (attempt, (run, kind, retries, ends)) in steps.into_iter().enumerate() {
            let run = format!("run{run}");
            let retries: Vec<_> = retries.iter().map(|(key, max)| retry("again", &format!("k{key}"), *max)).collect();
            let turn = Turn { side_effects_committed: kind == 2, ..turn(&run, attempt as u32) };
            let settled = budgets.settle(&turn, revise("why", &retries), plugin);
            prop_assert_eq!(budgets.earlier(&turn), Some(settled.clone()));
            if let Some(retry) = settled.decision.retries.first() {
                let used = granted.entry((run.clone(), retry.idempotency_key.clone())).or_insert(0);
                *used += 1;
                prop_assert!(*used <= settled.budget_used && settled.budget_used <= retry.max_attempts);
                prop_assert!(kind != 2);
            }
            if ends && kind == 1 {
                budgets.end_run("r", &run);
                granted.retain(|(other, _), _| *other != run);
            }
        }
        for run in 0..3 {
            budgets.end_run("r", &format!("run{run}"));
        }
        prop_assert_eq!((budgets.used.len(), budgets.answers.len(), budgets.bytes), (0, 0, 0));
    }
}
