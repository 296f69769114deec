#include "server/call_registry.h"

#include "absl/strings/str_cat.h"

namespace mneme::server {

absl::Status CallRegistry::Add(Abortable* call) {
  const std::lock_guard lock(mutex_);
  if (closed_) return absl::UnavailableError("the server is shutting down");
  if (calls_.size() >= static_cast<size_t>(max_calls_)) {
    return absl::ResourceExhaustedError(
        absl::StrCat(calls_.size(), " requests are under way, the server's limit"));
  }
  calls_.insert(call);
  return absl::OkStatus();
}

void CallRegistry::Remove(Abortable* call) {
  const std::lock_guard lock(mutex_);
  calls_.erase(call);
  if (calls_.empty()) empty_.notify_all();
}

void CallRegistry::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

bool CallRegistry::WaitUntilEmpty(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  return empty_.wait_until(lock, deadline, [this] { return calls_.empty(); });
}

void CallRegistry::AbortAll(const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  for (Abortable* call : calls_) call->Abort(why);
}

int32_t CallRegistry::size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int32_t>(calls_.size());
}

}  // namespace mneme::server
