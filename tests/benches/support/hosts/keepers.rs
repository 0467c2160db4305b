//! The keeper's own memory, in both of its forms.

use std::path::Path;

use outrigger::domain::ids::Generation;
use outrigger::domain::launch::{Connect, Plan, Tree as _};
use outrigger::process::Starter;

use super::super::Result;
use super::super::host::{Orders, unknown};
use super::super::machine::private_bytes;
use super::super::measure::numbers;

pub(super) async fn host(directory: &Path) -> Result<()> {
    let starters = [("image", Starter::new()), ("program", Starter::without_memory_file())];
    let mut started = Vec::new();
    for (number, (name, starter)) in starters.iter().enumerate() {
        let private_dir = directory.join(name);
        std::fs::create_dir(&private_dir)?;
        let plan = Plan {
            plugin: "kept".parse()?,
            generation: Generation(1),
            nonce: format!("{number:032x}"),
            token: "none".to_owned(),
            command: vec!["/bin/sleep".to_owned(), "1000".to_owned()],
            connect: Connect::Absolute,
            package_dir: directory.to_owned(),
            data_dir: directory.join("data"),
            environment: Default::default(),
            limits: Default::default(),
        };
        started.push(starter.start(&plan, &private_dir, &private_dir.join("host.sock")).await?);
    }
    Orders::open()?
        .serve(async |order| match order["do"].as_str() {
            Some("memory") => {
                let [image, program] = started.as_slice() else { return Err("two keepers are wanted".into()) };
                let bytes = |kept: &outrigger::process::Started| private_bytes(kept.tree.keeper_pid());
                Ok(numbers([("image", bytes(image)? as f64), ("program", bytes(program)? as f64)]))
            }
            _ => Err(unknown(order)),
        })
        .await?;
    // Ends the processes, and waits for that.
    drop(started);
    for (_, starter) in &starters {
        starter.finished().await;
    }
    Ok(())
}
