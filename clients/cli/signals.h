// Signals as function calls on a thread of their own, where anything may be done.
#ifndef MNEME_CLIENTS_CLI_SIGNALS_H_
#define MNEME_CLIENTS_CLI_SIGNALS_H_

#include <functional>
#include <thread>
#include <vector>

namespace mneme::cli {

// While it lives, `on_signal` is called for each of `signals` that the process gets, instead of its
// default action. Make it before any other thread: threads inherit the mask that keeps the signals
// away from them. One at a time.
class SignalWatcher {
 public:
  SignalWatcher(std::vector<int> signals, std::function<void(int signal)> on_signal);
  ~SignalWatcher();  // the signals' default actions are back
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void Loop();

  const std::vector<int> signals_;
  const std::function<void(int)> on_signal_;
  int signal_fd_ = -1;
  int stop_fd_ = -1;
  std::thread thread_;
};

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_SIGNALS_H_
