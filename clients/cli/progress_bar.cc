#include "clients/cli/progress_bar.h"

#include <cmath>
#include <cstdio>
#include <iterator>
#include <utility>

namespace mneme::cli {
namespace {

constexpr int kCells = 24;
constexpr std::chrono::milliseconds kRedraw{200};
constexpr std::chrono::seconds kNextLine{10};
// A rate of less time says nothing.
constexpr double kLeastSeconds = 0.5;

// "42 s", "3 min 5 s", "2 h 7 min"
std::string TimeText(double seconds) {
  const auto whole = int64_t{std::llround(seconds)};
  const auto two = [](int64_t a, const char* unit, int64_t b, const char* smaller) {
    return std::to_string(a) + " " + unit + " " + std::to_string(b) + " " + smaller;
  };
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return two(whole / 60, "min", whole % 60, "s");
  return two(whole / 3600, "h", whole % 3600 / 60, "min");
}

}  // namespace

std::string BytesText(int64_t bytes) {
  constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB", "PB"};
  if (bytes < 1000) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, value < 9.995 ? "%.2f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

ProgressBar::ProgressBar(std::string what, std::ostream& out, bool terminal)
    : what_(std::move(what)), out_(out), terminal_(terminal) {}

ProgressBar::~ProgressBar() {
  if (terminal_ && begun_) out_ << "\r\x1b[K" << std::flush;
}

void ProgressBar::Update(int64_t done, int64_t total, Clock::time_point now) {
  if (!begun_) {
    begun_ = true;
    start_ = now;
    drawn_ = now;
    first_ = done;
    if (!terminal_) return;
  } else if (now - drawn_ < (terminal_ ? Clock::duration(kRedraw) : Clock::duration(kNextLine))) {
    return;
  }
  drawn_ = now;
  const std::string line = Line(done, total, now);
  if (terminal_) {
    out_ << "\r" << line << "\x1b[K" << std::flush;
  } else {
    out_ << line << std::endl;
  }
}

std::string ProgressBar::Line(int64_t done, int64_t total, Clock::time_point now) const {
  const double part = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1.0;
  std::string line = what_ + " ";
  if (terminal_) {
    const auto full = static_cast<int>(part * kCells);
    line += "[" + std::string(static_cast<size_t>(full), '#') +
            std::string(static_cast<size_t>(kCells - full), '.') + "] ";
  }
  line += std::to_string(static_cast<int>(part * 100)) + "%, " + BytesText(done) + " of " +
          BytesText(total);
  const double seconds = std::chrono::duration<double>(now - start_).count();
  if (seconds < kLeastSeconds || done <= first_) return line;
  const double rate = static_cast<double>(done - first_) / seconds;
  return line + ", " + BytesText(static_cast<int64_t>(rate)) + "/s, " +
         TimeText(static_cast<double>(total - done) / rate) + " left";
}

}  // namespace mneme::cli
