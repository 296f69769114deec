#include "tests/e2e/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"

namespace mneme::testing {
namespace {

absl::Status Refused(const std::string& what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(error)));
}

int ControlSocket() { return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); }
int ThisNetwork() { return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }

ifreq Request(const std::string& interface) {
  ifreq request{};
  std::strncpy(request.ifr_name, interface.c_str(), IFNAMSIZ - 1);
  return request;
}

absl::Status SetUp(int control, const std::string& interface, bool up) {
  ifreq request = Request(interface);
  if (ioctl(control, SIOCGIFFLAGS, &request) != 0) return Refused(interface, errno);
  const int flags = up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
  request.ifr_flags = static_cast<short>(flags);  // NOLINT(google-runtime-int): the system's type
  if (ioctl(control, SIOCSIFFLAGS, &request) != 0) return Refused(interface, errno);
  return absl::OkStatus();
}

absl::Status SetAddress(int control, const std::string& interface, const std::string& address) {
  for (const auto& [what, value] : {std::pair<unsigned long, std::string>(SIOCSIFADDR, address),
                                    {SIOCSIFNETMASK, "255.255.255.0"}}) {
    ifreq request = Request(interface);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    inet_pton(AF_INET, value.c_str(), &to.sin_addr);
    std::memcpy(&request.ifr_addr, &to, sizeof to);
    if (ioctl(control, what, &request) != 0) return Refused(absl::StrCat(interface, value), errno);
  }
  return absl::OkStatus();
}

absl::Status SetGateway(int control, const std::string& address) {
  rtentry route{};
  sockaddr_in to{};
  to.sin_family = AF_INET;
  std::memcpy(&route.rt_dst, &to, sizeof to);
  std::memcpy(&route.rt_genmask, &to, sizeof to);
  inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  std::memcpy(&route.rt_gateway, &to, sizeof to);
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  if (ioctl(control, SIOCADDRT, &route) != 0) return Refused("a route", errno);
  return absl::OkStatus();
}

// A netlink message: attributes may hold others.
class Message {
 public:
  Message(uint16_t type, uint16_t flags) {
    Append(nlmsghdr{
        .nlmsg_len = 0, .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = 1, .nlmsg_pid = 0});
  }
  template <class T>
  void Append(const T& value) {
    AppendBytes(&value, sizeof value);
  }
  // Returns its place, for End.
  size_t Begin(uint16_t type) {
    const size_t at = bytes_.size();
    Append(nlattr{.nla_len = 0, .nla_type = type});
    return at;
  }
  void End(size_t at) {
    const auto length = static_cast<uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at + offsetof(nlattr, nla_len), &length, sizeof length);
    bytes_.resize((bytes_.size() + NLA_ALIGNTO - 1) / NLA_ALIGNTO * NLA_ALIGNTO);
  }
  void Attribute(uint16_t type, const void* data, size_t bytes) {
    const size_t at = Begin(type);
    AppendBytes(data, bytes);
    End(at);
  }
  void Attribute(uint16_t type, const std::string& text) {
    Attribute(type, text.c_str(), text.size() + 1);
  }

  // The kernel's answer.
  absl::Status Send(const std::string& what) {
    const auto length = static_cast<uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &length, sizeof length);
    const int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (netlink < 0) return Refused("netlink", errno);
    alignas(nlmsghdr) uint8_t answer[4096] = {};
    nlmsgerr error{.error = -EIO, .msg = {}};
    if (send(netlink, bytes_.data(), bytes_.size(), 0) > 0 &&
        recv(netlink, answer, sizeof answer, 0) >=
            static_cast<ssize_t>(NLMSG_HDRLEN + sizeof error.error)) {
      std::memcpy(&error.error, answer + NLMSG_HDRLEN, sizeof error.error);
    }
    close(netlink);
    return error.error == 0 ? absl::OkStatus() : Refused(what, -error.error);
  }

 private:
  void AppendBytes(const void* data, size_t bytes) {
    const auto* from = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), from, from + bytes);
  }

  std::vector<uint8_t> bytes_;
};

// A pair of interfaces, one of them in another network.
absl::Status MakeLink(const std::string& here, const std::string& there, int network_there) {
  Message message(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  message.Append(ifinfomsg{});
  message.Attribute(IFLA_IFNAME, here);
  const size_t info = message.Begin(IFLA_LINKINFO);
  message.Attribute(IFLA_INFO_KIND, "veth");
  const size_t data = message.Begin(IFLA_INFO_DATA);
  const size_t peer = message.Begin(VETH_INFO_PEER);
  message.Append(ifinfomsg{});
  message.Attribute(IFLA_IFNAME, there);
  message.Attribute(IFLA_NET_NS_FD, &network_there, sizeof network_there);
  message.End(peer);
  message.End(data);
  message.End(info);
  return message.Send("a pair of virtual interfaces");
}

}  // namespace

absl::Status EnterOwnNetwork() {
  const uid_t user = getuid();
  const gid_t group = getgid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return Refused("namespaces", errno);
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << user << " " << user << " 1";
  std::ofstream("/proc/self/gid_map") << group << " " << group << " 1";
  const int control = ControlSocket();
  if (control < 0) return Refused("a socket", errno);
  const absl::Status loopback = SetUp(control, "lo", true);
  close(control);
  return loopback;
}

absl::Status SetForwarding(bool forwards) {
  std::ofstream file("/proc/sys/net/ipv4/ip_forward");
  file << (forwards ? "1" : "0") << std::flush;
  return file.good() ? absl::OkStatus() : Refused("/proc/sys/net/ipv4/ip_forward", errno);
}

absl::StatusOr<std::unique_ptr<OtherHost>> OtherHost::Create(int number) {
  std::unique_ptr<OtherHost> host(new OtherHost(number));
  if (absl::Status status = host->Connect(); !status.ok()) return status;
  return host;
}

absl::Status OtherHost::Connect() {
  network_here_ = ThisNetwork();
  control_here_ = ControlSocket();
  if (unshare(CLONE_NEWNET) != 0) return Refused("a network namespace", errno);
  network_there_ = ThisNetwork();
  control_there_ = ControlSocket();
  absl::Status status = SetUp(control_there_, "lo", true);
  if (setns(network_here_, CLONE_NEWNET) != 0) return Refused("the way back", errno);
  if (status.ok()) status = MakeLink(Interface(End::kHere), Interface(End::kThere), network_there_);
  if (status.ok()) status = SetAddress(control_here_, Interface(End::kHere), here());
  if (status.ok()) status = SetAddress(control_there_, Interface(End::kThere), there());
  for (const End end : {End::kHere, End::kThere}) {
    if (status.ok()) status = SetLink(end, true);
  }
  return status.ok() ? SetGateway(control_there_, here()) : status;
}

OtherHost::~OtherHost() {
  for (int fd : {network_here_, network_there_, control_here_, control_there_}) {
    if (fd >= 0) close(fd);
  }
}

std::string OtherHost::Address(int host) const {
  return absl::StrCat("10.77.", number_, ".", host);
}

std::string OtherHost::Interface(End end) const {
  return absl::StrCat(end == End::kHere ? "here" : "there", number_);
}

void OtherHost::Run(const std::function<void()>& start) const {
  setns(network_there_, CLONE_NEWNET);
  start();
  setns(network_here_, CLONE_NEWNET);
}

absl::Status OtherHost::SetLink(End end, bool up) const {
  return SetUp(end == End::kHere ? control_here_ : control_there_, Interface(end), up);
}

}  // namespace mneme::testing
