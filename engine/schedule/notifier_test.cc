#include "engine/schedule/notifier.h"

#include <atomic>
#include <memory>
#include <thread>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

class CountingListener : public EventListener {
 public:
  void OnEvents() override { calls.fetch_add(1); }
  std::atomic<int> calls{0};
};

void WaitFor(const std::atomic<int>& calls, int at_least) {
  while (calls.load() < at_least) std::this_thread::yield();
}

TEST(NotifierTest, CallsTheListenerAfterEachRoundOfEvents) {
  Notifier notifier;
  CountingListener listener;
  auto gate = std::make_shared<ListenerGate>(&listener);
  for (int round = 1; round <= 1000; ++round) {
    notifier.Notify(gate.get(), gate);
    WaitFor(listener.calls, round);
  }
  EXPECT_EQ(listener.calls.load(), 1000);
}

TEST(NotifierTest, DeliversEverythingBeforeItStops) {
  CountingListener a;
  CountingListener b;
  auto gate_a = std::make_shared<ListenerGate>(&a);
  auto gate_b = std::make_shared<ListenerGate>(&b);
  {
    Notifier notifier;
    notifier.Notify(gate_a.get(), gate_a);
    notifier.Notify(gate_b.get(), gate_b);
  }
  EXPECT_EQ(a.calls.load(), 1);
  EXPECT_EQ(b.calls.load(), 1);
}

TEST(NotifierTest, AGateWithoutListenerIsLeftAlone) {
  auto gate = std::make_shared<ListenerGate>(nullptr);
  Notifier notifier;
  notifier.Notify(gate.get(), gate);
  EXPECT_EQ(gate.use_count(), 1);
}

// The listener is destroyed right after Close; a late call would be a use after free, which the
// sanitizers see.
TEST(NotifierTest, NeverCallsAfterTheGateIsClosed) {
  Notifier notifier;
  for (int round = 0; round < 500; ++round) {
    auto listener = std::make_unique<CountingListener>();
    auto gate = std::make_shared<ListenerGate>(listener.get());
    notifier.Notify(gate.get(), gate);
    if (round % 3 == 0) std::this_thread::yield();
    gate->Close();
    listener.reset();
  }
}

class SelfClosingListener : public EventListener {
 public:
  void OnEvents() override {
    gate->Close();
    calls.fetch_add(1);
  }
  ListenerGate* gate = nullptr;
  std::atomic<int> calls{0};
};

TEST(NotifierTest, AListenerMayCloseItsOwnGate) {
  Notifier notifier;
  SelfClosingListener listener;
  auto gate = std::make_shared<ListenerGate>(&listener);
  listener.gate = gate.get();
  notifier.Notify(gate.get(), gate);
  WaitFor(listener.calls, 1);
  notifier.Notify(gate.get(), gate);
  EXPECT_EQ(listener.calls.load(), 1);
}

TEST(NotifierTest, KeepsTheOwnerUntilTheCall) {
  CountingListener listener;
  std::weak_ptr<ListenerGate> watch;
  {
    Notifier notifier;
    auto gate = std::make_shared<ListenerGate>(&listener);
    watch = gate;
    notifier.Notify(gate.get(), gate);
  }
  EXPECT_EQ(listener.calls.load(), 1);
  EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace mneme::schedule
