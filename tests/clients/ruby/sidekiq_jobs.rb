# sidekiq: a worker that does jobs, retries one and does one later.
#
# Its keys have fixed names, and some steps use several in a MULTI: it needs one server.

require_relative 'checks'

if SERVERS > 1
  puts 'client sidekiq -'
  skip('jobs', 'sidekiq uses keys of several servers together, and has no prefix for a hash tag')
  puts 'done'
  exit
end

require 'sidekiq'
require_relative 'sidekiq_work'
require 'sidekiq/api'

puts "client sidekiq #{Sidekiq::VERSION}"

command = ['sidekiq', '-r', File.join(__dir__, 'sidekiq_work.rb'), '-c', '2', '-q', 'default']
worker = spawn(*command, out: :err)
begin
  check 'jobs are done' do
    20.times { |number| Add.perform_async("sum:#{number}", number, 1) }
    wanted = (1..20).map(&:to_s)
    until_so(20) { Sidekiq.redis { |redis| redis.mget((0...20).map { |number| "sum:#{number}" }) } == wanted }
  end

  check 'many jobs at once' do
    Sidekiq::Client.push_bulk('class' => Add, 'args' => (0...50).map { |number| ["bulk:#{number}", number, number] })
    until_so { Sidekiq.redis { |redis| redis.get('bulk:49') } == '98' }
  end

  check 'a failing job waits to be tried again' do
    Fail.perform_async
    until_so { Sidekiq::RetrySet.new.size == 1 }
    equal(Sidekiq::RetrySet.new.first.klass, 'Fail')
  end

  check 'a job for later' do
    Add.perform_in(3600, 'later', 1, 1)
    equal(Sidekiq::ScheduledSet.new.size, 1)
    Sidekiq::ScheduledSet.new.each(&:add_to_queue)
    until_so { Sidekiq.redis { |redis| redis.get('later') } == '2' }
  end

  check 'what it says of itself' do
    until_so { Sidekiq::ProcessSet.new.size == 1 }
    until_so { Sidekiq::Stats.new.queues.fetch('default', 0).zero? }
  end

  check 'it ends in order' do
    Process.kill('TERM', worker)
    Process.wait(worker)
    worker = nil
    equal($?.success?, true)
    equal(Sidekiq::ProcessSet.new(false).size, 0)
  end
ensure
  Process.kill('KILL', worker) if worker
end

puts 'done'
