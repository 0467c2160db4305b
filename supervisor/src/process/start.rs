//! Starts a launch: environment, orders, keeper, and the wait until the plugin's program runs.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cgroup::{Groups, Kept};
use super::environment;
use super::keeper::wire::step;
use super::plan::Orders;
use super::program::Form;
use super::spawn::{Spawned, spawn};
use super::tree::{KeptTree, Life};
use super::watch::{Failure, Running, Watch};
use crate::domain::launch::{Connect, Emptied, ExitRecord, LaunchError, Plan};

/// Files that a plugin makes are its own.
const UMASK: u32 = 0o077;
/// Resource, soft, hard. RLIMIT_CORE: a plugin's memory holds the secrets it was given, and is not left lying around.
/// None on the address space, as runtimes reserve far more than they use.
const LIMITS: &[[u64; 3]] = &[[4, 0, 0]];

/// Starts launches and follows each to its end.
#[derive(Debug)]
pub struct Starter {
    /// The form that works, as far as is known.
    form: Mutex<Form>,
    tasks: TaskTracker,
    groups: Arc<Groups>,
}

/// A launch whose program runs.
pub struct Started {
    /// Its processes.
    pub tree: Arc<KeptTree>,
    /// Standard output of the tree. It ends when no process of the tree has it open.
    pub stdout: pipe::Receiver,
    /// Standard error, likewise.
    pub stderr: pipe::Receiver,
}

impl Default for Starter {
    fn default() -> Self {
        Self::new()
    }
}

impl Starter {
    /// Starts keepers in the best form that this machine has.
    #[must_use]
    pub fn new() -> Self {
        Self::in_form(Form::best())
    }

    /// Starts keepers from this process's own program, whose `main` has to call [`super::keeper_main`] first; for
    /// operators who want no executable memory files.
    #[must_use]
    pub fn without_memory_file() -> Self {
        Self::in_form(Form::OwnProgram { reason: "memory files are not wanted".to_owned() })
    }

    fn in_form(form: Form) -> Self {
        let groups = Groups::none("control groups are not wanted");
        Self { form: Mutex::new(form), tasks: TaskTracker::new(), groups: Arc::new(groups) }
    }

    /// Has the kernel keep limits of launches, as far as these groups can.
    #[must_use]
    pub fn with_groups(self, groups: Groups) -> Self {
        Self { groups: Arc::new(groups), ..self }
    }

    /// Starts a launch and returns once its program runs. `private_dir` and the absolute `socket` in it are there
    /// already. Blocks the thread for one posix_spawn, the rest is waited for.
    ///
    /// Cancel safe: when dropped, what was started is killed; [`Self::finished`] waits for that, too.
    ///
    /// # Errors
    /// Nothing is left then.
    pub async fn start(&self, plan: &Plan, private_dir: &Path, socket: &Path) -> Result<Started, LaunchError> {
        let kept = self.keep_limits(plan).await?;
        self.start_kept(plan, private_dir, socket, kept).await
    }

    /// As [`Self::start`], with the launch's group made.
    pub(super) async fn start_kept(
        &self,
        plan: &Plan,
        private_dir: &Path,
        socket: &Path,
        kept: Kept,
    ) -> Result<Started, LaunchError> {
        let kept = Arc::new(kept);
        let program = plan.command.first().cloned().unwrap_or_default();
        let directory = match plan.connect {
            Connect::Relative => private_dir,
            Connect::Absolute => &plan.package_dir,
        };
        environment::make_directories(&plan.data_dir)
            .map_err(|(path, source)| LaunchError::Directory { path, source })?;
        let group = kept.entrance().unwrap_or_default();
        let orders = environment::variables(plan, socket, env::var_os("TZ").as_deref())
            .and_then(|environment| {
                let directory = directory.as_os_str().as_bytes();
                Orders {
                    directory,
                    group: group.as_os_str().as_bytes(),
                    command: &plan.command,
                    environment: &environment,
                    umask: UMASK,
                    limits: LIMITS,
                }
                .encode()
            })
            .map_err(|source| LaunchError::Exec { program: program.clone(), source })?;
        let (spawned, form) = self.spawn(&orders).map_err(LaunchError::Keeper)?;
        let Following { life, ready, exit, emptied, stdout, stderr } =
            self.follow(spawned, orders, &plan.nonce, Arc::clone(&kept)).map_err(LaunchError::Keeper)?;
        match ready.await {
            Ok(Ok(running)) => {
                let tree = Arc::new(KeptTree { life, running, form, kept, exit, emptied });
                Ok(Started { tree, stdout, stderr })
            }
            Ok(Err(failure)) => Err(explain(failure, program, directory)),
            Err(_) => Err(LaunchError::Keeper(io::Error::other("the runtime is ending"))),
        }
    }

    /// Waits until every launch has ended, with its processes and its keeper. New ones may be started meanwhile; they are
    /// waited for, too. Cancel safe.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Makes the launch's control group, where it has limits that the kernel keeps. A thread of its own waits for the
    /// kernel; a group that nobody waits for any more is removed.
    async fn keep_limits(&self, plan: &Plan) -> Result<Kept, LaunchError> {
        if plan.limits.memory_bytes.is_none() && plan.limits.processes.is_none() {
            return Ok(Kept::default());
        }
        let (groups, plugin, generation, limits) =
            (Arc::clone(&self.groups), plan.plugin.clone(), plan.generation, plan.limits.clone());
        let made = tokio::task::spawn_blocking(move || groups.make(&plugin, generation, &limits)).await;
        made.map_err(|_| LaunchError::Keeper(io::Error::other("the runtime is ending")))
    }

    /// Starts the keeper, in the other form where this machine refuses the better one.
    fn spawn(&self, orders: &[u8]) -> io::Result<(Spawned, Form)> {
        let form = self.form.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match spawn(&form, orders) {
            Ok(spawned) => Ok((spawned, form)),
            Err(error) if form == Form::MemoryFile && is_refusal(&error) => {
                let form = Form::OwnProgram { reason: format!("executing a memory file: {error}") };
                let spawned = spawn(&form, orders)?;
                self.form.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&form);
                Ok((spawned, form))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the keeper its own task.
    fn follow(&self, spawned: Spawned, mut orders: Vec<u8>, nonce: &str, kept: Arc<Kept>) -> io::Result<Following> {
        let Spawned { child, pidfd, socket, stdout, stderr, sent } = spawned;
        let life = Life {
            keeper_pid: child.pid(),
            pidfd: Arc::new(pidfd),
            socket: Arc::new(socket),
            told: CancellationToken::new(),
        };
        let (to_ready, ready) = oneshot::channel();
        let (to_exit, exit) = watch::channel(None);
        let (to_emptied, emptied) = watch::channel(None);
        orders.drain(..sent);
        let task = Watch {
            keeper: child,
            pidfd: register(&life.pidfd, Interest::READABLE)?,
            socket: register(&life.socket, Interest::READABLE | Interest::WRITABLE)?,
            plan: orders,
            nonce: nonce.to_owned(),
            kept,
            told: life.told.clone(),
            ready: Some(to_ready),
            exit: to_exit,
            emptied: to_emptied,
            failure: None,
        };
        let (stdout, stderr) = (pipe::Receiver::from_owned_fd(stdout)?, pipe::Receiver::from_owned_fd(stderr)?);
        self.tasks.spawn(task.run());
        Ok(Following { life, ready, exit, emptied, stdout, stderr })
    }
}

/// A keeper whose child's program does not run yet. Dropping it kills what there is.
struct Following {
    life: Life,
    ready: oneshot::Receiver<Result<Running, Failure>>,
    exit: watch::Receiver<Option<ExitRecord>>,
    emptied: watch::Receiver<Option<Emptied>>,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
}

/// The machine refuses to execute the file, as opposed to having no room for one more process.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotFound, PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | NotFound | Unsupported | InvalidInput)
        || error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error())
}

/// Has the runtime watch a descriptor.
#[expect(unsafe_code, reason = "the runtime offers no safe form")]
fn register(fd: &Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the descriptor is open and the same for as long as anybody, here the `AsyncFd`, shares it.
    Ok(unsafe { AsyncFd::register_with_interest(Arc::clone(fd), interest) }?)
}

fn explain(failure: Failure, program: String, directory: &Path) -> LaunchError {
    let (at, errno) = match failure {
        Failure::Told { step, errno } => (step, errno),
        Failure::Lost(how) => return LaunchError::Keeper(io::Error::other(how)),
    };
    let source = io::Error::from_raw_os_error(errno);
    let keeper = |what| LaunchError::Keeper(io::Error::new(source.kind(), format!("{what}: {source}")));
    match at {
        step::EXEC => LaunchError::Exec { program, source },
        step::DIRECTORY => {
            let text = format!("enter `{}`: {source}", directory.display());
            LaunchError::Exec { program, source: io::Error::new(source.kind(), text) }
        }
        step::SETUP => keeper("set itself up"),
        step::PLAN => keeper("read its orders"),
        step::CLONE => keeper("make the child"),
        step::LIMIT => keeper("set a resource limit"),
        _ => keeper("prepare the child"),
    }
}
