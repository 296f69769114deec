#include "engine/ranks/rank_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

extern char** environ;

namespace mneme::ranks {
namespace {

// What posix_spawn takes, freed on all ways out.
struct SpawnSettings {
  SpawnSettings() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
};

// A copy that lies above the numbers that the child's descriptors get.
int CopyAbove(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, kControlDescriptor + 1); }

int Spawn(const std::string& executable, int front, int control, pid_t* pid) {
  SpawnSettings settings;
  posix_spawn_file_actions_addopen(&settings.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&settings.files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&settings.files, front, kFrontDescriptor);
  posix_spawn_file_actions_adddup2(&settings.files, control, kControlDescriptor);
  posix_spawn_file_actions_addclosefrom_np(&settings.files, kControlDescriptor + 1);
  // The front's threads may block signals that it handles.
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&settings.attributes, &none);
  posix_spawnattr_setsigdefault(&settings.attributes, &all);
  posix_spawnattr_setpgroup(&settings.attributes, 0);
  posix_spawnattr_setflags(&settings.attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  // As process lists show it; the executable may be called /proc/self/exe.
  std::string name = "mneme";
  std::string verb = "rank";
  char* arguments[] = {name.data(), verb.data(), nullptr};
  return posix_spawn(pid, executable.c_str(), &settings.files, &settings.attributes, arguments,
                     environ);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RankProcess>> RankProcess::Start(const std::string& executable) {
  const absl::StatusOr<Channel::Pair> front = Channel::MakePair();
  if (!front.ok()) return front.status();
  auto front_channel = std::make_unique<Channel>(front->mine, kMostFrameBytes);
  const absl::StatusOr<Channel::Pair> control = Channel::MakePair();
  if (!control.ok()) {
    close(front->theirs);
    return control.status();
  }
  auto control_channel = std::make_unique<Channel>(control->mine, kMostFrameBytes);
  const int theirs[] = {CopyAbove(front->theirs), CopyAbove(control->theirs)};
  pid_t pid = -1;
  const int error = Spawn(executable, theirs[0], theirs[1], &pid);
  for (int fd : {front->theirs, control->theirs, theirs[0], theirs[1]}) close(fd);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start '", executable, " rank': ", std::strerror(error)));
  }
  return std::unique_ptr<RankProcess>(
      new RankProcess(pid, std::move(front_channel), std::move(control_channel)));
}

RankProcess::~RankProcess() {
  if (reaped_) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string RankProcess::name() const { return absl::StrCat("process ", pid_); }

std::string RankProcess::Ended(std::chrono::milliseconds patience) {
  int status = 0;
  const auto end = Channel::Clock::now() + patience;
  while (!reaped_ && waitpid(pid_, &status, WNOHANG) != pid_) {
    if (Channel::Clock::now() >= end) return "";
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (std::exchange(reaped_, true)) return ended_;
  ended_ = WIFSIGNALED(status) ? absl::StrCat("killed by signal ", WTERMSIG(status))
                               : absl::StrCat("ended with status ", WEXITSTATUS(status));
  return ended_;
}

}  // namespace mneme::ranks
