//! The demo, as a newcomer runs it first: what it shows has to be so.

use std::process::Stdio;
use std::time::Duration;

use outrigger_tests::programs::program;
use outrigger_tests::within;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);

/// Every call that it shows has an answer by plugins, and the story is told to its end. Without Python, whose environment
/// would be made anew.
#[tokio::test]
async fn the_demo_shows_calls_that_are_answered_a_kill_and_the_recovery() {
    within(LIMIT, async {
        let mut demo = Command::new(program("outrigger"));
        demo.args(["demo", "--no-python"]).stdin(Stdio::null()).kill_on_drop(true);
        let output = demo.output().await.expect("it starts");
        let told = String::from_utf8(output.stdout).expect("it is text");
        assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
        let after = |step: &str| {
            let next = told.split_once(step).and_then(|(_, rest)| rest.lines().nth(1));
            assert!(next.is_some(), "nothing follows `{step}`:\n{told}");
            next.unwrap_or_default().to_owned()
        };
        assert!(after("the guard dies with the question in its hands.").contains("file-guard: its session ended"));
        assert!(after("while the guard is not there:").contains("file-guard: is "));
        assert!(after("The other plugins noticed nothing:").contains("go on     allowed by policy-gate"));
        assert!(after("goes on where it was.").contains("go on     allowed by file-guard"));
        assert!(told.contains("0 asked, 0 not answered"), "{told}");
        assert!(told.contains("and its directory is removed"), "{told}");
    })
    .await;
}
