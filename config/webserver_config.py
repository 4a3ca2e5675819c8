"""How people log in: names and passwords in Airflow's own database.

For LDAP, OAuth or OpenID Connect change AUTH_TYPE here and add its settings below; the names are in
https://airflow.apache.org/docs/apache-airflow-providers-fab/stable/auth-manager/sso.html
"""

from flask_appbuilder.const import AUTH_DB

AUTH_TYPE = AUTH_DB

# LDAP: AUTH_TYPE = AUTH_LDAP, then AUTH_LDAP_SERVER, AUTH_LDAP_SEARCH, AUTH_LDAP_USE_TLS = True, ...
# OAuth: AUTH_TYPE = AUTH_OAUTH, then OAUTH_PROVIDERS = [...]
# Both: AUTH_ROLES_MAPPING = {"group": ["Viewer"]} and AUTH_ROLES_SYNC_AT_LOGIN = True say who may do what.
