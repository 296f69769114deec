// The mneme binary as a child process whose standard output and error can be read.
#ifndef MNEME_TESTS_E2E_PROCESS_H_
#define MNEME_TESTS_E2E_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "clients/cpp/client.h"

namespace mneme::testing {

// The processes that a process has started and that still run.
std::vector<pid_t> ChildrenOf(pid_t parent);

class Process {
 public:
  // Of its standard error: is read, or is a full pipe that nobody reads, or one whose reader has
  // gone.
  enum class Err : uint8_t { kRead, kFull, kGone };
  // full_out: its standard output is a full pipe, so that it stops at its first line until somebody
  // reads.
  explicit Process(std::vector<std::string> arguments, bool full_out = false, Err err = Err::kRead);
  // Kills it if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  std::string ReadLine();
  std::string ReadRest();
  // Whether standard error has got `text`, within a minute.
  bool WaitForErr(const std::string& text);
  void Signal(int signal);
  // The exit status, or 1000 + the signal that ended it.
  int Wait();
  const std::string& err() const { return err_; }  // after Wait

  std::vector<pid_t> Children() const { return ChildrenOf(pid_); }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  int unread_err_ = -1;
  std::mutex err_mutex_;
  std::string err_;
  std::thread err_reader_;
};

// A client of the server that the process has become. Null, and a test failure, when it has not.
std::unique_ptr<client::Client> ConnectTo(Process* process, std::string* address = nullptr);
// A request for so many tokens, greedy, whatever ends a text.
v1::GenerateRequest GreedyText(int32_t tokens);
// Its text, or why there is none.
absl::StatusOr<std::string> Text(client::Client* client, int32_t tokens);
// The text, as soon as the server takes requests again; a test failure when it is not UNAVAILABLE
// until then.
std::string TextOnceBack(client::Client* client, int32_t tokens);
// What the standard health service of the server there says: "SERVING", "NOT_SERVING", or an error.
std::string HealthOf(const std::string& address);
// The path of a file with the ranks' token.
std::string TokenFile(const std::string& name, const std::string& token);

}  // namespace mneme::testing

#endif  // MNEME_TESTS_E2E_PROCESS_H_
