#include "engine/ranks/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/runtime/spin.h"

namespace mneme::ranks {
namespace {

constexpr uint32_t kMagic = 0x4b4e524d;  // "MRNK"

struct Header {
  uint32_t magic;
  uint32_t kind;
  uint64_t bytes;
};
static_assert(sizeof(Header) == 16);

absl::Status Gone(const char* what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(error)));
}

// 0: the time is over. Rounded up: it never returns before `end`.
int Poll(int socket, short events, Channel::Clock::time_point end) {
  pollfd entry{socket, events, 0};
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - Channel::Clock::now()).count();
    constexpr int64_t kHour = 3'600'000;
    const int timeout = static_cast<int>(std::clamp<int64_t>(left, 0, kHour));
    const int ready = poll(&entry, 1, timeout);
    if (ready > 0 || (ready == 0 && left <= kHour) || (ready < 0 && errno != EINTR)) return ready;
  }
}

}  // namespace

Channel::Channel(int socket, uint64_t most_payload) : socket_(socket), most_payload_(most_payload) {
  fcntl(socket_, F_SETFD, FD_CLOEXEC);
}

Channel::~Channel() { close(socket_); }

absl::StatusOr<Channel::Pair> Channel::MakePair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("socketpair: ", std::strerror(errno)));
  }
  return Pair{ends[0], ends[1]};
}

absl::Status Channel::Send(FrameKind kind, std::span<const uint8_t> payload, Clock::time_point end,
                           int fd) {
  Header header{kMagic, static_cast<uint32_t>(kind), payload.size()};
  iovec parts[2] = {{&header, sizeof header},
                    {const_cast<uint8_t*>(payload.data()), payload.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  size_t left = sizeof header + payload.size();
  while (left > 0) {
    const ssize_t sent = sendmsg(socket_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (Poll(socket_, POLLOUT, end) != 0) continue;
      return absl::DeadlineExceededError("the peer takes no more");
    }
    if (sent < 0) return Gone("send", errno);
    // The descriptor went with the first byte.
    message.msg_control = nullptr;
    message.msg_controllen = 0;
    left -= static_cast<size_t>(sent);
    for (size_t done = static_cast<size_t>(sent); done > 0;) {
      iovec& part = *message.msg_iov;
      const size_t step = std::min(done, part.iov_len);
      part.iov_base = static_cast<uint8_t*>(part.iov_base) + step;
      part.iov_len -= step;
      done -= step;
      if (part.iov_len > 0) break;
      ++message.msg_iov;
      --message.msg_iovlen;
    }
  }
  return absl::OkStatus();
}

absl::Status Channel::Read(uint8_t* to, size_t bytes, std::chrono::microseconds spin,
                           Clock::time_point end, bool begun, int* fd) {
  while (bytes > 0) {
    ssize_t got = -1;
    iovec part{to, bytes};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    const auto receive = [&] {
      message = {};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      got = recvmsg(socket_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    };
    if (!runtime::SpinUntil(spin, receive)) {
      const int ready = Poll(socket_, POLLIN, end);
      if (ready > 0) continue;
      if (ready < 0) return Gone("poll", errno);
      // Half a frame cannot be picked up again.
      return begun ? absl::UnavailableError("the peer sent half a message")
                   : absl::DeadlineExceededError("the peer said nothing");
    }
    if (got < 0) return Gone("receive", errno);
    if (got == 0) return absl::UnavailableError("the peer closed the connection");
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      if (*fd >= 0) close(*fd);
      std::memcpy(fd, CMSG_DATA(c), sizeof *fd);
    }
    begun = true;
    to += got;
    bytes -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status Channel::Receive(std::chrono::microseconds spin, Clock::time_point end, Frame* frame) {
  Header header{};
  frame->fd = -1;
  absl::Status status = Read(reinterpret_cast<uint8_t*>(&header), sizeof header, spin, end,
                             /*begun=*/false, &frame->fd);
  if (status.ok() && (header.magic != kMagic || header.bytes > most_payload_)) {
    status = absl::InvalidArgumentError(absl::StrCat("the peer sent no message of ours: magic ",
                                                     absl::Hex(header.magic), ", ", header.bytes,
                                                     " bytes, the most is ", most_payload_));
  }
  if (status.ok()) {
    frame->kind = static_cast<FrameKind>(header.kind);
    frame->payload.resize(header.bytes);
    status =
        Read(frame->payload.data(), frame->payload.size(), spin, end, /*begun=*/true, &frame->fd);
  }
  if (!status.ok() && frame->fd >= 0) close(std::exchange(frame->fd, -1));
  return status;
}

void Channel::Shutdown() { shutdown(socket_, SHUT_RDWR); }

}  // namespace mneme::ranks
