// holdfast-sim-test: runs seeds of the simulated world. See README.md.
#include "driver.hpp"
#include "sweeps.hpp"

#include <CLI/CLI.hpp>

#include <atomic>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace holdfast;

/// The seeds of a file: one a line, what follows it is a word on it.
std::vector<std::uint64_t> read_seeds(const std::string& path) {
    std::vector<std::uint64_t> seeds;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        if (std::uint64_t seed = 0; words >> seed)
            seeds.push_back(seed);
    }
    return seeds;
}

bool read_range(const std::string& text, std::uint64_t& from, std::uint64_t& to) {
    std::istringstream words(text);
    char dash = 0;
    return words >> from >> dash >> to && dash == '-' && from <= to && words.peek() == EOF;
}

void print_timeline(const sim::scenario& what, const sim::run_result& ran) {
    std::cout << sim::describe(what);
    for (const auto& line : ran.timeline)
        std::cout << line << '\n';
}

void print_complaints(const sim::run_result& ran) {
    for (const auto& each : ran.complaints)
        std::cout << "broken: " << each.broken << "\n        " << each.how << '\n';
}

void print_broken(std::uint64_t seed, const sim::run_result& ran, bool timeline) {
    std::cout << "seed " << seed << " broke. Replay: holdfast-sim-test --seed " << seed << " --verbose\n";
    print_complaints(ran);
    if (timeline) {
        sim::run_options verbose;
        verbose.timeline = true;
        const auto what = sim::make_scenario(seed);
        print_timeline(what, sim::run(what, verbose));
    }
    std::cout << std::flush;
}

int run_one(std::uint64_t seed, bool verbose) {
    sim::run_options how;
    how.timeline = verbose;
    const auto what = sim::make_scenario(seed);
    const auto ran = sim::run(what, how);
    if (verbose)
        print_timeline(what, ran);
    print_complaints(ran);
    std::cout << (ran.complaints.empty() ? "1 seeds held, 0 broke\n" : "0 seeds held, 1 broke\n");
    return ran.complaints.empty() ? 0 : 1;
}

struct tally {
    std::size_t held = 0;
    std::size_t broke = 0;
    std::map<test::row, std::size_t> rows;
};

/// Each world is alone on its thread: what is shared here is the list of seeds and the tally.
tally run_seeds(const std::vector<std::uint64_t>& seeds, unsigned threads, bool rows, bool brief) {
    tally all;
    std::mutex mutex;
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
        sim::run_options how;
        how.rows = rows;
        for (std::size_t i; (i = next++) < seeds.size();) {
            const auto ran = sim::run(sim::make_scenario(seeds[i]), how);
            const std::lock_guard lock(mutex);
            for (const auto row : ran.rows)
                ++all.rows[row];
            if (ran.complaints.empty()) {
                ++all.held;
                continue;
            }
            print_broken(seeds[i], ran, !brief && all.broke == 0);
            ++all.broke;
        }
    };
    std::vector<std::thread> others;
    for (unsigned n = 1; n < threads; ++n)
        others.emplace_back(work);
    work();
    for (auto& each : others)
        each.join();
    return all;
}

constexpr std::uint64_t first_by_default = 1;
constexpr std::uint64_t last_by_default = 2000;

/// Prints how many seeds showed each case. False when there is one that none shows, of seeds that are to show
/// all.
bool print_rows(const std::map<test::row, std::size_t>& rows, std::uint64_t from, std::uint64_t to) {
    std::cout << test::row_table(rows);
    if (from > first_by_default || to < last_by_default)
        return true;
    const auto missing = test::rows_without(rows);
    for (const auto& row : missing)
        std::cout << "no seed shows: " << row.name << " (" << row.what << ")\n";
    return missing.empty();
}

int run_sweeps(bool verbose) {
    std::map<std::string, std::size_t> struck;
    std::size_t held = 0;
    std::size_t broke = 0;
    sim::sweep([&](const sim::sweep_step& step) {
        const auto kind = sim::to_string(step.what.what);
        if (step.ran.struck)
            ++struck[step.scenario + ", " + kind];
        if (step.ran.complaints.empty()) {
            ++held;
            return;
        }
        std::cout << "sweep broke: " << step.scenario << ", " << kind << " number " << step.what.nth << '\n';
        print_complaints(step.ran);
        if (verbose && broke == 0)
            for (const auto& line : sim::repeat_step(step.scenario, kind, step.what.nth).timeline)
                std::cout << line << '\n';
        ++broke;
    });
    for (const auto& [name, count] : struck)
        std::cout << name << ": struck " << count << " times\n";
    std::cout << held << " runs held, " << broke << " broke" << std::endl;
    return broke == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app("Runs seeds of the simulated world, and checks what must hold whatever goes wrong.");
    std::string range;
    std::uint64_t seed = 0;
    bool verbose = false;
    bool brief = false;
    bool with_kept = false;
    bool sweeps = false;
    bool rows = false;
    unsigned threads = 1;
    std::string kept = HOLDFAST_KEPT_SEEDS;
    app.add_option("--seeds", range, "FROM-TO: these seeds (else 1-2000, and the kept ones)");
    auto* one = app.add_option("--seed", seed, "this one alone");
    app.add_flag("--verbose", verbose,
                 "with --seed: print its timeline; with --sweeps: of the first that broke");
    app.add_flag("--sweeps", sweeps, "fail, cancel and throw at the 1st, 2nd, ... occasion");
    app.add_flag("--with-kept", with_kept, "with --seeds: the kept ones too, first");
    app.add_flag("--brief", brief, "no timelines of seeds that broke");
    app.add_flag(
        "--rows", rows,
        "with --seeds: how many of them showed each case of the protocol; of 1-2000 each must be shown");
    app.add_option("--threads", threads, "with --seeds: so many worlds at a time")->check(CLI::Range(1, 64));
    app.add_option("--kept", kept, "the file of the kept seeds");
    CLI11_PARSE(app, argc, argv);
    if (*one)
        return run_one(seed, verbose);
    if (sweeps)
        return run_sweeps(verbose);

    std::uint64_t from = first_by_default;
    std::uint64_t to = last_by_default;
    if (!range.empty() && !read_range(range, from, to)) {
        std::cerr << "--seeds wants FROM-TO, not " << range << '\n';
        return 2;
    }
    std::vector<std::uint64_t> seeds;
    if (range.empty() || with_kept)
        seeds = read_seeds(kept);
    for (auto s = from; s <= to; ++s)
        seeds.push_back(s);
    const auto all = run_seeds(seeds, threads, rows, brief);
    const bool all_shown = !rows || print_rows(all.rows, from, to);
    std::cout << all.held << " seeds held, " << all.broke << " broke" << std::endl;
    return all.broke == 0 && all_shown ? 0 : 1;
}
