// The requests under way: how many there are, and a way to end them all.
#ifndef MNEME_SERVER_CALL_REGISTRY_H_
#define MNEME_SERVER_CALL_REGISTRY_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <unordered_set>

#include "absl/status/status.h"

namespace mneme::server {

// A call that the server may have to end. Abort is called by any thread; it must not block, and
// must not call the registry.
class Abortable {
 public:
  virtual ~Abortable() = default;
  virtual void Abort(const absl::Status& why) = 0;
};

// Thread safe.
class CallRegistry {
 public:
  explicit CallRegistry(int32_t max_calls) : max_calls_(max_calls) {}

  // RESOURCE_EXHAUSTED when max_calls are under way, UNAVAILABLE after Close. `call` must be
  // removed before it is destroyed.
  absl::Status Add(Abortable* call);
  void Remove(Abortable* call);

  // From now on nothing is added.
  void Close();
  // Whether all calls were removed before `deadline`.
  bool WaitUntilEmpty(std::chrono::steady_clock::time_point deadline);
  // Aborts what is under way.
  void AbortAll(const absl::Status& why);
  int32_t size() const;

 private:
  const int32_t max_calls_;
  mutable std::mutex mutex_;
  std::condition_variable empty_;
  std::unordered_set<Abortable*> calls_;
  bool closed_ = false;
};

}  // namespace mneme::server

#endif  // MNEME_SERVER_CALL_REGISTRY_H_
