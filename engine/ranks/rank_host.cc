#include "engine/ranks/rank_host.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace mneme::ranks {
namespace {

using Clock = Channel::Clock;

// How long a connection may take to say who it is.
constexpr std::chrono::seconds kIntroduction{5};
// A link that acknowledges nothing for so long is cut, also when there is nothing to send: a peer
// is asked whether it is there.
constexpr int kDeadLinkMs = 10'000;
constexpr int kAskSeconds = 2;

enum class Role : uint8_t { kFront = 1, kControl = 2 };

// What a connection begins with; the token follows.
struct Hello {
  uint64_t session;  // the same of a front's two connections
  Role role;
  uint8_t unused[7];
};

struct AddressList {
  ~AddressList() {
    if (first != nullptr) freeaddrinfo(first);
  }
  addrinfo* first = nullptr;
};

absl::Status Resolve(const std::string& address, bool to_listen, AddressList* list) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank address '", address, "' is not HOST:PORT"));
  }
  // The system would take the lower 16 bits of a larger one.
  uint32_t port = 0;
  if (!absl::SimpleAtoi(address.substr(colon + 1), &port) || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("rank address '", address, "': port '",
                                                   address.substr(colon + 1),
                                                   "' is not in [0, 65535]"));
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  const int error = getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(),
                                &hints, &list->first);
  if (error == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("rank address '", address, "': ", gai_strerror(error)));
}

void SetOptions(int socket) {
  const int one = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &kAskSeconds, sizeof kAskSeconds);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &kAskSeconds, sizeof kAskSeconds);
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &kDeadLinkMs, sizeof kDeadLinkMs);
}

// A connected socket, or -1 with errno.
int ConnectOne(const addrinfo& to, Clock::time_point end) {
  const int fd = socket(to.ai_family, to.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  int error = connect(fd, to.ai_addr, to.ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd entry{fd, POLLOUT, 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    const int ready = poll(&entry, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (ready == 0) error = ETIMEDOUT;
  }
  if (error == 0) return fd;
  close(fd);
  errno = error;
  return -1;
}

absl::StatusOr<std::unique_ptr<Channel>> ConnectAs(const std::string& address, const Hello& hello,
                                                   const std::string& token,
                                                   Clock::time_point end) {
  AddressList list;
  if (absl::Status status = Resolve(address, /*to_listen=*/false, &list); !status.ok()) {
    return status;
  }
  int fd = -1;
  for (const addrinfo* a = list.first; a != nullptr && fd < 0; a = a->ai_next) {
    fd = ConnectOne(*a, end);
  }
  if (fd < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot connect to rank ", address, ": ", std::strerror(errno)));
  }
  SetOptions(fd);
  auto channel = std::make_unique<Channel>(fd, kMostFrameBytes);
  std::vector<uint8_t> payload(sizeof hello + token.size());
  std::memcpy(payload.data(), &hello, sizeof hello);
  std::memcpy(payload.data() + sizeof hello, token.data(), token.size());
  absl::Status sent = channel->Send(FrameKind::kHello, payload, end);
  if (!sent.ok()) return sent;
  return channel;
}

class RankHost : public RankPeer {
 public:
  RankHost(std::string name, std::unique_ptr<Channel> front, std::unique_ptr<Channel> control)
      : name_(std::move(name)), front_(std::move(front)), control_(std::move(control)) {}

  Channel* front() override { return front_.get(); }
  Channel* control() override { return control_.get(); }
  std::string name() const override { return name_; }

 private:
  const std::string name_;
  const std::unique_ptr<Channel> front_;
  const std::unique_ptr<Channel> control_;
};

// Takes the same time whatever differs.
bool SameToken(std::span<const uint8_t> given, const std::string& token) {
  uint32_t different = given.size() != token.size() ? 1 : 0;
  for (size_t i = 0; i < token.size(); ++i) {
    const uint8_t byte = given.empty() ? 0 : given[i % given.size()];
    different |= static_cast<uint32_t>(byte ^ static_cast<uint8_t>(token[i]));
  }
  return different == 0;
}

absl::Status CheckToken(const std::string& token) {
  if (token.size() >= kLeastTokenBytes && token.size() <= kMostTokenBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the ranks' token has ", token.size(),
                                                 " bytes, must have ", kLeastTokenBytes, " to ",
                                                 kMostTokenBytes));
}

std::string BoundAddress(int fd, const std::string& address) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  char port[NI_MAXSERV] = "";
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  getnameinfo(reinterpret_cast<sockaddr*>(&bound), size, nullptr, 0, port, sizeof port,
              NI_NUMERICSERV);
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RankPeer>> ConnectToRank(const std::string& address,
                                                        const std::string& token,
                                                        std::chrono::milliseconds patience) {
  if (absl::Status status = CheckToken(token); !status.ok()) return status;
  const Clock::time_point end = Clock::now() + patience;
  std::random_device random;
  Hello hello{uint64_t{random()} << 32 | random(), Role::kFront, {}};
  absl::StatusOr<std::unique_ptr<Channel>> front = ConnectAs(address, hello, token, end);
  if (!front.ok()) return front.status();
  hello.role = Role::kControl;
  absl::StatusOr<std::unique_ptr<Channel>> control = ConnectAs(address, hello, token, end);
  if (!control.ok()) return control.status();
  return std::make_unique<RankHost>(address, *std::move(front), *std::move(control));
}

absl::StatusOr<std::unique_ptr<RankListener>> RankListener::Listen(const std::string& address,
                                                                   const std::string& token) {
  if (absl::Status status = CheckToken(token); !status.ok()) return status;
  AddressList list;
  if (absl::Status status = Resolve(address, /*to_listen=*/true, &list); !status.ok()) {
    return status;
  }
  for (const addrinfo* a = list.first; a != nullptr; a = a->ai_next) {
    const int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    const int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    constexpr int kBacklog = 16;
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, kBacklog) == 0) {
      return std::unique_ptr<RankListener>(new RankListener(fd, BoundAddress(fd, address), token));
    }
    const int error = errno;
    close(fd);
    errno = error;
  }
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address, ": ", std::strerror(errno)));
}

RankListener::~RankListener() { close(socket_); }

void RankListener::Stop() { shutdown(socket_, SHUT_RDWR); }

absl::StatusOr<RankListener::Front> RankListener::Accept() {
  Front found;
  uint64_t session = 0;
  for (;;) {
    const int fd = accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (fd < 0) return absl::CancelledError("the rank listens no more");
    SetOptions(fd);
    // Little is read of whom nobody knows yet.
    auto channel = std::make_unique<Channel>(fd, sizeof(Hello) + kMostTokenBytes);
    Frame frame;
    Hello hello;
    if (!channel->Receive(std::chrono::microseconds(0), Clock::now() + kIntroduction, &frame)
             .ok() ||
        frame.kind != FrameKind::kHello || frame.payload.size() < sizeof hello ||
        !SameToken(std::span(frame.payload).subspan(sizeof hello), token_)) {
      continue;
    }
    channel->SetMostPayload(kMostFrameBytes);
    std::memcpy(&hello, frame.payload.data(), sizeof hello);
    // A front that came back has another session: what is left of the last one goes.
    if (std::exchange(session, hello.session) != hello.session) found = {};
    (hello.role == Role::kFront ? found.front : found.control) = std::move(channel);
    if (found.front != nullptr && found.control != nullptr) return found;
  }
}

}  // namespace mneme::ranks
