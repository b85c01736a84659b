import Glibc
import Synchronization

/// A program that runs to its end.
struct Command {
  let program: String
  let arguments: [String]
  /// Only root can run it under another account than its own.
  let account: Account
  /// `NAME=value`, besides what it has in any case.
  var variables: [String] = []

  struct Outcome {
    /// 0 is success; 128 and the signal's number when one ended it.
    let status: Int32
    /// Both streams, in order.
    let output: String
  }

  /// Runs it in the root folder, which every account can enter, and with an environment of its own: PG* variables of the
  /// caller are meant for other servers.
  func run() throws(SandboxError) -> Outcome {
    let drop = [
      "/usr/bin/setpriv", "--reuid=\(account.user)", "--regid=\(account.group)", "--clear-groups", "--",
    ]
    let line =
      ["/usr/bin/env", "-i", "-C", "/", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"] + variables
      + (geteuid() == 0 && account.user != 0 ? drop : []) + [program] + arguments
    let (child, end) = try Self.spawning.withLock { _ throws(SandboxError) in try Self.spawn(line) }
    defer { close(end) }
    let output = FileSystem.readAll(end)
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
    let signal = status & 0x7f
    return Outcome(
      status: signal == 0 ? (status >> 8) & 0xff : 128 + signal, output: String(decoding: output, as: UTF8.self))
  }

  /// One at a time: a pipe made by one thread must not get into the child of another.
  private static let spawning = Mutex(())

  /// - Returns: the process, and the end of the pipe from which its output is read.
  private static func spawn(_ line: [String]) throws(SandboxError) -> (pid_t, Int32) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw .system("cannot make a pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[1]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
    // A server that outlives us must hold none of our files, or whoever waits for their end waits for the server's.
    for file in FileSystem.names(in: "/proc/self/fd").compactMap({ Int32($0) }) where file > 2 {
      posix_spawn_file_actions_addclose(&actions, file)
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    resetSignals(&attributes)

    let arguments = line.map { strdup($0) } + [nil]
    defer { arguments.forEach { free($0) } }
    var child = pid_t()
    let code = posix_spawn(&child, line[0], &actions, &attributes, arguments, [nil])
    guard code == 0 else {
      close(ends[0])
      errno = code
      throw .system("cannot run \(line[0])")
    }
    return (child, ends[0])
  }

  /// Signals that this program blocks or ignores would be so in its child too.
  private static func resetSignals(_ attributes: inout posix_spawnattr_t) {
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    for signal in [SIGPIPE, SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
  }
}
