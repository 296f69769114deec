#include "server/call_status.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mneme::server {

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

absl::Status NotA(const std::string& message_type) {
  return absl::InvalidArgumentError(
      absl::StrCat("request: not a ", message_type, " (a string that is not UTF-8 is one reason)"));
}

absl::Status WhyGone(const CallTimes& times, std::chrono::system_clock::time_point now) {
  // The client's own clock ends the call a little before ours does: by the time the request
  // travelled, and because gRPC rounds a timeout up, by at most 1 %, when it sends it.
  const auto slack = std::max<std::chrono::system_clock::duration>(
      std::chrono::milliseconds(50), (times.deadline - times.start) / 50);
  if (now + slack >= times.deadline) {
    return absl::DeadlineExceededError("the client's deadline passed");
  }
  return absl::CancelledError("cancelled by the client");
}

}  // namespace mneme::server
