
#[tokio::test(start_paused = true)]
async fn all_stop_side_by_side_and_who_does_not_is_killed_and_named() {
    within(async {
        let world = World::with(vec![spec("a"), spec("b"), spec("c")]).await;
        let launches = [world.launched().await, world.launched().await, world.launched().await];
        for launch in &launches {
            let talk = launch.registered(register(vec![hook("h", &[])])).await;
            match launch.plan.plugin.as_str() {
                "b" => {
                    // It does nothing it is asked to.
                    tokio::spawn(async move {
                        let mut talk = talk;
                        let _ = talk.end().await;
                    });
                }
                _ => drop(talk.serve(&launch.tree, |_| Some(allow()))),
            }
        }
        for id in ["a", "b", "c"] {
            world.until_state(id, State::Ready).await;
        }
        let started = Instant::now();
        let report = world.service.stop().await;
        assert_eq!(report.killed, ["b"]);
        assert_eq!(started.elapsed().as_secs(), 5);
        assert_eq!(world.store.record("a").running, []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_budget_for_all_is_kept() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let launch = world.launched().await;
        launch.tree.immortal.store(true, Ordering::Relaxed);
        let _talk = launch.registered(register(vec![hook("h", &[])])).await;
        world.until_state("p", State::Ready).await;
        let started = Instant::now();
        world.service.stop().await;
        assert!(started.elapsed() <= 17 * SECOND, "{:?}", started.elapsed());
        launch.tree.die(ExitStatus::Signalled(9));
    })
    .await;
}
