// A network of this process's own, and other hosts in it: namespaces of the kernel, joined by pairs
// of virtual interfaces that can be cut. Needs no privileges where user namespaces are allowed.
#ifndef MNEME_TESTS_E2E_NETWORK_H_
#define MNEME_TESTS_E2E_NETWORK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mneme::testing {

// From now on this process is in a network with nothing in it but a loopback interface. REQUIRES:
// the process has one thread, and has not done it before. UNAVAILABLE names what is not allowed.
absl::Status EnterOwnNetwork();

// Whether this process's host passes on what other hosts send each other; not at the start.
// UNAVAILABLE: it is not allowed to.
absl::Status SetForwarding(bool forwards);

// Another host: a network behind a link of its own. REQUIRES: EnterOwnNetwork. One thread.
class OtherHost {
 public:
  // number: 1 to 250, another for each. Its way to other hosts leads through this one.
  static absl::StatusOr<std::unique_ptr<OtherHost>> Create(int number);
  ~OtherHost();
  OtherHost(const OtherHost&) = delete;
  OtherHost& operator=(const OtherHost&) = delete;

  // Both ends of the link.
  std::string here() const { return Address(1); }
  std::string there() const { return Address(2); }
  // Runs `start` there: processes that it starts belong to that host.
  void Run(const std::function<void()>& start) const;
  // Takes an end of the link down or up. Where it is not taken down nothing is told: what is sent
  // there vanishes.
  enum class End { kHere, kThere };
  absl::Status SetLink(End end, bool up) const;

 private:
  explicit OtherHost(int number) : number_(number) {}
  std::string Address(int host) const;
  std::string Interface(End end) const;
  absl::Status Connect();

  const int number_;
  int network_here_ = -1;
  int network_there_ = -1;
  // Sockets of each network, to change its interfaces through.
  int control_here_ = -1;
  int control_there_ = -1;
};

}  // namespace mneme::testing

#endif  // MNEME_TESTS_E2E_NETWORK_H_
