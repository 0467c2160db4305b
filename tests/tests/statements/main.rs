//! What an out-of-process host must prove, statement by statement, as far as `before_tool_call` reaches. The numbers in
//! the tests' names are those of the contracts: X, what only such a host can show; Q, what people complained about
//! and what must hold therefore.

mod calls;
mod fences;
mod life;
mod registration;
mod reload;
mod stop;

use std::time::Duration;

/// For one test.
const LIMIT: Duration = Duration::from_secs(90);
