// What a call ends with.
#ifndef MNEME_SERVER_CALL_STATUS_H_
#define MNEME_SERVER_CALL_STATUS_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <string>

#include "absl/status/status.h"

namespace mneme::server {

grpc::Status ToGrpcStatus(const absl::Status& status);

// Bytes that are no message of this type: INVALID_ARGUMENT.
absl::Status NotA(const std::string& message_type);

// When a call began and until when its client waits.
struct CallTimes {
  std::chrono::system_clock::time_point start;
  std::chrono::system_clock::time_point deadline;
};

// Why a client that is gone at `now` is gone: DEADLINE_EXCEEDED or CANCELLED.
absl::Status WhyGone(const CallTimes& times, std::chrono::system_clock::time_point now);

}  // namespace mneme::server

#endif  // MNEME_SERVER_CALL_STATUS_H_
