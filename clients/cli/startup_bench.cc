#include "clients/cli/startup_bench.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/cpp/client.h"
#include "kernels/simd/machine_limits.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/families/made_up_checkpoint.h"
#include "loader/native/convert.h"
#include "loader/native/native_checkpoint.h"

extern char** environ;

namespace mneme::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kListening[] = "listening on ";
constexpr char kStarted[] = "started: ";

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// A `mneme serve`, its standard output a pipe, its standard error a file without a name. Killed at
// the end.
class Server {
 public:
  static absl::StatusOr<std::unique_ptr<Server>> Start(const StartupOptions& options) {
    std::unique_ptr<Server> server(new Server);
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0) return Failed("pipe", errno);
    server->out_ = out[0];
    server->err_ = memfd_create("mneme-serve-err", MFD_CLOEXEC);
    if (server->err_ < 0) {
      close(out[1]);
      return Failed("memfd_create", errno);
    }
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, server->err_, STDERR_FILENO);
    std::vector<std::string> words = {options.executable, "serve",    "--model",
                                      options.model,      "--listen", "127.0.0.1:0"};
    words.insert(words.end(), options.arguments.begin(), options.arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    server->begin_ = Clock::now();
    const int error = posix_spawn(&server->pid_, options.executable.c_str(), &files, nullptr,
                                  argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    close(out[1]);
    if (error != 0) return Failed(options.executable, error);
    return server;
  }

  ~Server() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (out_ >= 0) close(out_);
    if (err_ >= 0) close(err_);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The address that it listens on, once it does.
  absl::StatusOr<std::string> Address() {
    std::string line;
    char c = 0;
    while (read(out_, &c, 1) == 1 && c != '\n') line += c;
    if (line.rfind(kListening, 0) != 0) {
      return absl::UnavailableError(absl::StrCat("the server ended: ", Err()));
    }
    return line.substr(std::strlen(kListening));
  }

  // All it said on standard error so far.
  std::string Err() const {
    std::string text;
    char buffer[4096];
    for (off_t at = 0;;) {
      const ssize_t count = pread(err_, buffer, sizeof buffer, at);
      if (count <= 0) return text;
      text.append(buffer, static_cast<size_t>(count));
      at += count;
    }
  }

  Clock::time_point begin() const { return begin_; }

 private:
  Server() = default;

  static absl::Status Failed(const std::string& what, int error) {
    return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(error)));
  }

  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
  Clock::time_point begin_;
};

// The rest of the line that says so.
std::string PhasesIn(const std::string& err) {
  const size_t at = err.find(kStarted);
  if (at == std::string::npos) return "";
  const size_t begin = at + std::strlen(kStarted);
  return err.substr(begin, err.find('\n', begin) - begin);
}

}  // namespace

absl::StatusOr<StartupRun> MeasureStartup(const StartupOptions& options) {
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options);
  if (!server.ok()) return server.status();
  const absl::StatusOr<std::string> address = (*server)->Address();
  if (!address.ok()) return address.status();
  StartupRun run;
  run.listening = SecondsSince((*server)->begin());
  client::ClientOptions connect;
  connect.address = *address;
  const auto client = client::Client::Connect(connect);
  if (!client.ok()) return client.status();
  v1::GenerateRequest request;
  request.mutable_token_ids()->add_ids(1);
  request.mutable_stopping()->set_max_tokens(1);
  request.mutable_stopping()->set_ignore_eos(true);
  const auto begun = (*server)->begin();
  const auto result = (*client)->Generate(request, {}, [&](const v1::ChoiceDelta& delta) {
    if (run.first_token == 0 && delta.token_ids_size() > 0) run.first_token = SecondsSince(begun);
    return true;
  });
  if (!result.ok()) return result.status();
  for (const v1::Traffic::Class& traffic : result->usage.traffic().classes()) {
    if (traffic.name() != "activations") run.step_bytes += traffic.read_bytes();
  }
  run.phases = PhasesIn((*server)->Err());
  const absl::StatusOr<v1::GetModelReply> model = (*client)->GetModel();
  if (!model.ok()) return model.status();
  run.ranks = model->ranks();
  return run;
}

absl::StatusOr<std::string> MakeStartupModel(const std::string& folder, std::ostream& out) {
  const std::string source = folder + "/source";
  std::string native = folder + "/native";
  if (loader::IsNative(native)) return native;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path() == source || entry.path() == native) continue;
    return absl::InvalidArgumentError(absl::StrCat(folder, " holds ",
                                                   entry.path().filename().string(),
                                                   ": name an empty folder or a new one"));
  }
  std::filesystem::create_directories(source, error);
  if (error) return absl::UnavailableError(absl::StrCat(source, ": ", error.message()));
  out << "making a model of 4 GB in " << folder << std::endl;
  if (absl::Status s = loader::WriteMadeUpCheckpoint({}, source); !s.ok()) return s;
  const absl::StatusOr<loader::Checkpoint> checkpoint = loader::InspectCheckpoint(source);
  if (!checkpoint.ok()) return checkpoint.status();
  const auto report = loader::ConvertCheckpoint(*checkpoint, native, {}, {});
  if (!report.ok()) return report.status();
  return native;
}

absl::StatusOr<int64_t> WarmFiles(const std::string& folder) {
  int64_t bytes = 0;
  std::vector<char> buffer(size_t{4} << 20);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!entry.is_regular_file(error)) continue;
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      return absl::UnavailableError(
          absl::StrCat(entry.path().string(), ": ", std::strerror(errno)));
    }
    // Pages that somebody wrote just now are small ones; read, they come as a later start has them.
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    for (ssize_t count = 1; count > 0; bytes += std::max<ssize_t>(0, count)) {
      count = read(fd, buffer.data(), buffer.size());
    }
    close(fd);
  }
  if (error) return absl::NotFoundError(absl::StrCat(folder, ": ", error.message()));
  return bytes;
}

absl::Status BenchStartup(const StartupOptions& options, std::ostream& out) {
  const absl::StatusOr<int64_t> bytes = WarmFiles(options.model);
  if (!bytes.ok()) return bytes.status();
  std::vector<StartupRun> runs;
  for (int32_t i = 0; i < options.runs; ++i) {
    absl::StatusOr<StartupRun> run = MeasureStartup(options);
    if (!run.ok()) return run.status();
    runs.push_back(*std::move(run));
  }
  std::sort(runs.begin(), runs.end(),
            [](const StartupRun& a, const StartupRun& b) { return a.first_token < b.first_token; });
  const StartupRun& median = runs[runs.size() / 2];
  const double rate = kernels::MeasureReadBandwidth(static_cast<int64_t>(median.step_bytes),
                                                    kernels::DetectIsa(), median.ranks);
  const double limit = median.step_bytes / rate;
  out << absl::StrFormat("%s: %.2f GB of files in the page cache, %d starts\n", options.model,
                         static_cast<double>(*bytes) / 1e9, options.runs)
      << absl::StrFormat("  exec to listening    %6.3f s\n", median.listening)
      << absl::StrFormat("  exec to first token  %6.3f s  worst %6.3f s\n", median.first_token,
                         runs.back().first_token)
      << absl::StrFormat(
             "  reading the %.1f MB of its one step takes %.3f s at the %.1f GB/s measured "
             "here: the start takes %.1f times that\n",
             median.step_bytes / 1e6, limit, rate / 1e9, median.first_token / limit)
      << absl::StrFormat("  %s\n", median.phases);
  return absl::OkStatus();
}

}  // namespace mneme::cli
