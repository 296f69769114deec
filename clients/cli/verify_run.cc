#include "clients/cli/verify_run.h"

#include <algorithm>
#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "clients/cli/progress_bar.h"
#include "loader/native/verify.h"
#include "nlohmann/json.hpp"

namespace mneme::cli {
namespace {

using Json = nlohmann::ordered_json;

// More than cores: a disk answers several readers at once.
int32_t Threads() {
  return std::clamp<int32_t>(static_cast<int32_t>(std::thread::hardware_concurrency()), 4, 64);
}

std::string Count(int64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

std::string RateText(const loader::VerifyReport& report) {
  if (report.checked_per_second <= 0 || report.read_per_second <= 0) {
    return "too little to measure a rate";
  }
  char text[48];
  std::snprintf(text, sizeof text, "checked in %.1f s, at ", report.seconds);
  char share[16];
  std::snprintf(share, sizeof share, "%.0f%%",
                100 * report.checked_per_second / report.read_per_second);
  return absl::StrCat(text, BytesText(static_cast<int64_t>(report.checked_per_second)), "/s, ",
                      share, " of the ", BytesText(static_cast<int64_t>(report.read_per_second)),
                      "/s at which this machine reads the files");
}

void PrintText(const std::string& directory, const loader::VerifyReport& report,
               std::ostream& out) {
  for (const std::string& message : report.messages) out << message << "\n";
  const auto listed = static_cast<int64_t>(report.messages.size());
  if (report.differences > listed) {
    out << "and " << report.differences - listed << " more differences\n";
  }
  out << directory << ": "
      << (report.differences == 0 ? "as it was written" : Count(report.differences, "difference"))
      << ": " << Count(report.shards, "shard") << ", " << report.tensors << " tensors, "
      << BytesText(report.bytes) << ", conversion " << report.conversion << "\n"
      << RateText(report) << std::endl;
}

void PrintJson(const std::string& directory, const loader::VerifyReport& report,
               std::ostream& out) {
  const Json json = {{"name", directory},
                     {"conversion", report.conversion},
                     {"shards", report.shards},
                     {"tensors", report.tensors},
                     {"bytes", report.bytes},
                     {"differences", report.differences},
                     {"messages", report.messages},
                     {"seconds", report.seconds},
                     {"checked_bytes_per_s", report.checked_per_second},
                     {"read_bytes_per_s", report.read_per_second},
                     {"refused", nullptr}};
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << std::endl;
}

}  // namespace

void PrintRefusal(const std::string& name, const absl::Status& status, std::ostream& out) {
  const Json refused = {{"name", name},
                        {"code", absl::StatusCodeToString(status.code())},
                        {"refused", std::string(status.message())}};
  out << refused.dump(2, ' ', false, Json::error_handler_t::replace) << std::endl;
}

int RunVerify(const Invocation& invocation, const std::string& directory, bool json) {
  loader::VerifyOptions options{.threads = Threads(), .on_progress = nullptr};
  absl::StatusOr<loader::VerifyReport> report = absl::UnknownError("");
  {
    ProgressBar bar("checking", invocation.err, invocation.StandardErrorIsTerminal());
    options.on_progress = [&bar](int64_t done, int64_t total) { bar.Update(done, total); };
    report = loader::VerifyNative(directory, options);
  }
  if (!report.ok()) {
    if (json) PrintRefusal(directory, report.status(), invocation.out);
    return Fail(invocation, "inspect", report.status());
  }
  if (json) {
    PrintJson(directory, *report, invocation.out);
  } else {
    PrintText(directory, *report, invocation.out);
  }
  return report->differences == 0 ? 0 : kExitFailed;
}

}  // namespace mneme::cli
