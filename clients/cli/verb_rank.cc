#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cli/flags.h"
#include "clients/cli/model_flags.h"
#include "clients/cli/signals.h"
#include "clients/cli/verbs.h"
#include "engine/ranks/rank_host.h"
#include "engine/ranks/rank_process.h"
#include "engine/ranks/rank_server.h"

namespace mneme::cli {
namespace {

absl::StatusOr<std::unique_ptr<ranks::Channel>> Inherited(int descriptor) {
  if (fcntl(descriptor, F_GETFD) < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("descriptor ", descriptor, ": ", std::strerror(errno),
                     "; a rank is started by the front process (mneme serve --processes N), or "
                     "waits for one on another host (--listen)"));
  }
  return std::make_unique<ranks::Channel>(descriptor, ranks::kMostFrameBytes);
}

absl::Status ServeParent() {
  auto front = Inherited(ranks::kFrontDescriptor);
  if (!front.ok()) return front.status();
  auto control = Inherited(ranks::kControlDescriptor);
  if (!control.ok()) return control.status();
  return ranks::ServeRank(*std::move(front), *std::move(control),
                          {.model_directory = "", .build = kVersion, .bind_host = ""});
}

struct Flags {
  std::string listen;
  std::string model;
  std::string token_file;
  std::string bind;
};

// One front after the other, until a signal.
absl::Status ServeHosts(const Invocation& invocation, const Flags& flags) {
  const absl::StatusOr<std::string> token = ReadToken(flags.token_file);
  if (!token.ok()) return token.status();
  auto listener = ranks::RankListener::Listen(flags.listen, *token);
  if (!listener.ok()) return listener.status();
  std::atomic<bool> serving{false};
  const SignalWatcher watcher({SIGTERM, SIGINT}, [&](int) {
    // A front's rank ends with it; what it runs is the front's to drain.
    if (serving.load()) _exit(0);
    (*listener)->Stop();
  });
  const std::string host = flags.listen.substr(0, flags.listen.rfind(':'));
  invocation.out << "rank waits on " << (*listener)->address() << std::endl;
  for (;;) {
    absl::StatusOr<ranks::RankListener::Front> front = (*listener)->Accept();
    if (absl::IsCancelled(front.status())) return absl::OkStatus();
    if (!front.ok()) return front.status();
    serving.store(true);
    invocation.err << "mneme rank: a front has come" << std::endl;
    const absl::Status served =
        ranks::ServeRank(std::move(front->front), std::move(front->control),
                         {.model_directory = flags.model,
                          .build = kVersion,
                          .bind_host = flags.bind.empty() ? host : flags.bind});
    serving.store(false);
    invocation.err << "mneme rank: the front is gone: " << std::string(served.ToString())
                   << std::endl;
  }
}

}  // namespace

int RunRank(const Invocation& invocation) {
  pthread_setname_np(pthread_self(), "mneme-rank");
  Flags flags;
  FlagTable table("rank", "",
                  "Serves one rank of a model. Without --listen: to the front process that started "
                  "it (mneme serve --processes N). With it: waits for a front on another host "
                  "(mneme serve --rank-hosts), and for the next when that is gone. Nothing is "
                  "encrypted: the ranks' network must be private.");
  table.Add("listen", &flags.listen, "HOST:PORT",
            "Where to wait for a front; keep it on a private network.");
  table.Add("model", &flags.model, "DIR", "With --listen: this host's copy of the model.");
  table.Add("token-file", &flags.token_file, "FILE",
            "With --listen: what a front must know; 16 to 1024 bytes.");
  table.Add("bind", &flags.bind, "HOST",
            "With --listen: this host in the ranks' network, if not the HOST of --listen.");
  int exit_status = 0;
  if (!ParseFlags(invocation, &table, 0, &exit_status)) return exit_status;
  if (!flags.listen.empty() && flags.model.empty()) {
    invocation.err << "mneme rank: --listen needs --model" << std::endl;
    return kExitUsage;
  }
  const absl::Status status = flags.listen.empty() ? ServeParent() : ServeHosts(invocation, flags);
  return status.ok() ? 0 : Fail(invocation, "rank", status);
}

}  // namespace mneme::cli
