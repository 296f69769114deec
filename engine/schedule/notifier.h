// Calls EventListeners on a thread of its own, so that the schedule's thread does no input or
// output. Many events between two calls cause one call.
#ifndef MNEME_ENGINE_SCHEDULE_NOTIFIER_H_
#define MNEME_ENGINE_SCHEDULE_NOTIFIER_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/engine.h"
#include "engine/schedule/doorbell.h"

namespace mneme::schedule {

// Stands between the notifier and one listener, which may go away at any time.
class ListenerGate {
 public:
  explicit ListenerGate(EventListener* listener) : listener_(listener), has_listener_(listener) {}
  // After this returns the listener is not called any more. May be called by the listener itself,
  // inside OnEvents. Any thread.
  void Close();

 private:
  friend class Notifier;

  // Recursive, for a listener that closes its own gate.
  std::recursive_mutex mutex_;
  EventListener* listener_;
  const bool has_listener_;
  std::atomic<bool> queued_{false};
  // While queued: the next gate, and what keeps this one alive.
  ListenerGate* next_ = nullptr;
  std::shared_ptr<void> owner_;
};

class Notifier {
 public:
  Notifier();
  // Delivers what was asked for, then stops.
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // Has the gate's listener called soon, at least once after this call began. `owner` keeps the
  // gate alive until then. Allocates nothing. For one thread.
  void Notify(ListenerGate* gate, const std::shared_ptr<void>& owner);

 private:
  void Loop();
  bool DeliverAll();

  Doorbell doorbell_;
  std::atomic<ListenerGate*> queue_{nullptr};  // last in first
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_NOTIFIER_H_
