# The jobs that sidekiq_jobs.rb queues; loaded by the worker too.

require_relative 'checks'
require 'sidekiq'

settings = { db: DATABASE, timeout: 10, id: NAME }.merge(LOGIN)
Sidekiq.configure_server { |config| config.redis = settings.dup }
Sidekiq.configure_client { |config| config.redis = settings.dup }

class Add
  include Sidekiq::Worker

  def perform(key, one, other)
    Sidekiq.redis { |redis| redis.set(key, one + other) }
  end
end

class Fail
  include Sidekiq::Worker

  def perform
    raise 'as it should'
  end
end
