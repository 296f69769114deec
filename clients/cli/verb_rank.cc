#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "clients/cli/flags.h"
#include "clients/cli/verbs.h"
#include "engine/ranks/rank_process.h"
#include "engine/ranks/rank_server.h"

namespace mneme::cli {
namespace {

absl::StatusOr<std::unique_ptr<ranks::Channel>> Inherited(int descriptor) {
  if (fcntl(descriptor, F_GETFD) < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("descriptor ", descriptor, ": ", std::strerror(errno),
                     "; a rank is started by the front process (mneme serve --processes N)"));
  }
  return std::make_unique<ranks::Channel>(descriptor, ranks::kMostFrameBytes);
}

}  // namespace

int RunRank(const Invocation& invocation) {
  FlagTable table("rank", "",
                  "Serves one rank of a model to the front process that started it, over two "
                  "connections that it inherits, until that process is gone.");
  int exit_status = 0;
  if (!ParseFlags(invocation, &table, 0, &exit_status)) return exit_status;
  auto front = Inherited(ranks::kFrontDescriptor);
  if (!front.ok()) return Fail(invocation, "rank", front.status());
  auto control = Inherited(ranks::kControlDescriptor);
  if (!control.ok()) return Fail(invocation, "rank", control.status());
  const absl::Status status = ranks::ServeRank(*std::move(front), *std::move(control),
                                               {.model_directory = "", .build = kVersion});
  return status.ok() ? 0 : Fail(invocation, "rank", status);
}

}  // namespace mneme::cli
