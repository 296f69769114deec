#include "server/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace mneme::server {
namespace {

constexpr int kMostPort = 65535;

// Of one of a name's addresses.
std::string WhyNotBound(const addrinfo& info) {
  const int fd = socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::strerror(errno);
  // As a server does: connections of before that are still closing are no reason.
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  std::string why;
  if (bind(fd, info.ai_addr, info.ai_addrlen) != 0 || listen(fd, 1) != 0) {
    why = std::strerror(errno);
  }
  close(fd);
  return why;
}

}  // namespace

absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
    return absl::InvalidArgumentError(absl::StrCat("listen address '", text, "' is not HOST:PORT"));
  }
  ListenAddress address;
  address.host = text.substr(0, colon);
  const char* begin = text.data() + colon + 1;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(begin, end, address.port);
  if (parsed.ec != std::errc() || parsed.ptr != end || address.port < 0 ||
      address.port > kMostPort) {
    return absl::InvalidArgumentError(absl::StrCat("listen address '", text, "': port '",
                                                   text.substr(colon + 1), "' is not in [0, ",
                                                   kMostPort, "]"));
  }
  return address;
}

std::string WhyNotBound(const ListenAddress& address) {
  std::string host = address.host;
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* all = nullptr;
  const std::string port = absl::StrCat(address.port);
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &all); error != 0) {
    return gai_strerror(error);
  }
  std::string why;
  for (const addrinfo* info = all; info != nullptr && why.empty(); info = info->ai_next) {
    why = WhyNotBound(*info);
  }
  freeaddrinfo(all);
  return why;
}

}  // namespace mneme::server
